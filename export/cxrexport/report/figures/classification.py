"""How well films are told apart: confusion matrix, ROC, precision-recall, scores by truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cxrexport.report.figures.style import (
    ENSEMBLE_COLOUR,
    GREY,
    NEGATIVE,
    POSITIVE,
    drawn,
    legend_below,
    network_line,
    new_figure,
    whole_numbers,
)
from cxrexport.report.names import network_name

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Judged = tuple[Flags, Floats]
"""Truth [n] and probability [n] of one trial's test films."""

_GRID = np.linspace(0.0, 1.0, 201)


@drawn
def confusion_matrix(
    truth: Flags, predicted: Flags, labels: tuple[str, str], judge: str = "the ensemble"
) -> Figure:
    """Films by true class (rows) and predicted class (columns), with the share of each row.

    Args:
        truth: whether each film is positive, [N].
        predicted: whether it was predicted positive, [N].
        labels: negative and positive class.
        judge: who predicted.
    """
    from sklearn.metrics import confusion_matrix as count

    counts = count(truth, predicted, labels=[False, True])
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    figure = new_figure(4.6, 4.2)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            share = f"{100 * shares[row, column]:.1f} %" if totals[row, 0] else "no film"
            axes.text(
                column,
                row,
                f"{counts[row, column]}\n{share}",
                ha="center",
                va="center",
                fontsize=13,
                color="white" if shares[row, column] > 0.55 else "black",
            )
    axes.set_xticks([0, 1], labels=labels)
    axes.set_yticks(
        [0, 1], labels=[f"{labels[i]}\nn = {totals[i, 0]}" for i in range(2)], va="center"
    )
    axes.set(xlabel=f"predicted by {judge}", ylabel="true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Confusion matrix\n{films(truth)}")
    return figure


@drawn
def roc_curves(
    truth: Flags, probabilities: Mapping[str, Floats], trials: Sequence[Judged] = ()
) -> Figure:
    """Sensitivity against 1 - specificity over all thresholds.

    Args:
        truth: [N].
        probabilities: network → [N]; `ensemble` is drawn thick, and so is one alone.
        trials: the ensemble's scores by trial; two or more give the band between the lowest and
            the highest of their curves.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, axes = _unit_square(
        "1 \N{MINUS SIGN} specificity", "sensitivity", f"ROC\n{films(truth)}"
    )
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (2, 2)))
    if not _both_classes(truth):
        return _one_class_only(figure, axes)
    bands = []
    for trial_truth, score in trials:
        if _both_classes(trial_truth):
            x, y, _ = roc_curve(trial_truth, score)
            bands.append(np.interp(_GRID, x, y))
    _band(axes, bands)
    for network, score in probabilities.items():
        x, y, _ = roc_curve(truth, score)
        label = f"{network_name(network)}  {roc_auc_score(truth, score):.3f}"
        axes.plot(x, y, label=label, **_line(network, probabilities))
    legend_below(figure, axes, "ROC AUC")
    return figure


@drawn
def precision_recall_curves(
    truth: Flags, probabilities: Mapping[str, Floats], trials: Sequence[Judged] = ()
) -> Figure:
    """Precision against sensitivity over all thresholds; arguments as `roc_curves`.

    The number is the average precision, which does not interpolate between thresholds.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    title = f"Precision and recall\n{films(truth)}"
    figure, axes = _unit_square("recall (sensitivity)", "precision", title)
    if not _both_classes(truth):
        return _one_class_only(figure, axes)
    axes.axhline(
        truth.mean(), color=GREY, linewidth=0.8, linestyle=(0, (2, 2)), label="share of positives"
    )
    bands = []
    for trial_truth, score in trials:
        if _both_classes(trial_truth):
            y, x, _ = precision_recall_curve(trial_truth, score)
            bands.append(np.interp(_GRID, x[::-1], y[::-1]))
    _band(axes, bands)
    for network, score in probabilities.items():
        y, x, _ = precision_recall_curve(truth, score)
        label = f"{network_name(network)}  {average_precision_score(truth, score):.3f}"
        axes.plot(x, y, drawstyle="steps-post", label=label, **_line(network, probabilities))
    legend_below(figure, axes, "average precision")
    return figure


@drawn
def score_histogram(
    truth: Flags, probability: Floats, labels: tuple[str, str], threshold: float = 0.5
) -> Figure:
    """Films by probability in twenty bins, a panel for each class of the ground truth."""
    figure = new_figure(5.2, 4.2)
    panels: Sequence[Any] = figure.subplots(2, 1, sharex=True)
    bins = np.linspace(0, 1, 21)
    for axes, positive in zip(panels, (True, False), strict=True):
        chosen = probability[truth == positive]
        axes.hist(
            chosen,
            bins=bins,
            color=POSITIVE if positive else NEGATIVE,
            edgecolor="white",
            linewidth=0.5,
        )
        axes.axvline(threshold, color="black", linewidth=1, linestyle=(0, (4, 2)))
        axes.set_title(f"{labels[positive]} (n = {len(chosen)})", fontweight="normal", pad=3)
        axes.set_ylabel("films")
        whole_numbers(axes.yaxis)
        axes.grid(axis="y")
    panels[1].set(
        xlim=(0, 1), xlabel=f"probability of {labels[1]} (dashed: the threshold, {threshold:g})"
    )
    figure.suptitle(
        f"Scores by ground truth, {films(truth)}", x=0.02, ha="left", fontsize=10, weight="bold"
    )
    return figure


def _line(network: str, all_of_them: Mapping[str, Floats]) -> dict[str, Any]:
    return network_line("ensemble" if len(all_of_them) == 1 else network)


def films(truth: Flags) -> str:
    """For titles: how many films, and how many of them positive."""
    return f"n = {len(truth)} films, {int(truth.sum())} positive"


def _both_classes(truth: Flags) -> bool:
    return bool(truth.any() and not truth.all())


def _unit_square(xlabel: str, ylabel: str, title: str) -> tuple[Figure, Any]:
    figure = new_figure(4.8, 5.9)
    axes = figure.subplots()
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=xlabel, ylabel=ylabel, aspect="equal")
    axes.grid()
    axes.set_title(title)
    return figure, axes


def _one_class_only(figure: Figure, axes: Any) -> Figure:
    axes.text(0.5, 0.55, "one class only: no curve", ha="center", color=GREY)
    return figure


def _band(axes: Any, curves: Sequence[Floats]) -> None:
    if len(curves) < 2:
        return
    axes.fill_between(
        _GRID,
        np.min(curves, axis=0),
        np.max(curves, axis=0),
        color=ENSEMBLE_COLOUR,
        alpha=0.12,
        linewidth=0,
        label=f"range of {len(curves)} trials",
    )
