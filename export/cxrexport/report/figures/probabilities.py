"""What a probability means: reliability, and the operating points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cxrexport.report.figures.style import (
    GREY,
    NEGATIVE,
    POSITIVE,
    drawn,
    legend_below,
    new_figure,
    whole_numbers,
)

ReliabilityCurve = tuple[
    Sequence[float], Sequence[int], Sequence[float | None], Sequence[float | None]
]
"""Edges [bins + 1], films [bins], mean probability [bins] and share of positive films [bins]."""


@drawn
def reliability_curve(curves: Mapping[str, ReliabilityCurve], positive: str) -> Figure:
    """Share of positive films against mean probability, and the films of each bin below.

    Args:
        curves: one or two, by name, for example before and after temperature scaling.
        positive: the positive class.
    """
    figure = new_figure(4.9, 6.3)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    above.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (2, 2)))
    total = 0
    looks = ((GREY, "s", (0, (4, 2))), ("#000000", "o", "-"))
    for place, (name, (edges, counts, predicted, observed)) in enumerate(curves.items()):
        colour, marker, dashes = looks[place % 2] if len(curves) > 1 else looks[1]
        x = [value for value in predicted if value is not None]
        y = [value for value in observed if value is not None]
        above.plot(x, y, color=colour, marker=marker, markersize=5, linestyle=dashes, label=name)
        centres, width = (np.array(edges[1:]) + edges[:-1]) / 2, np.diff(edges) / 2.4
        shift = (place - (len(curves) - 1) / 2) * width
        below.bar(centres + shift, counts, width=width, color=colour)
        total = max(total, sum(counts))
    above.set(ylim=(-0.02, 1.02), xlim=(-0.01, 1.01), ylabel=f"share of {positive} films")
    above.grid()
    legend_below(figure, above, columns=1)
    above.set_title(f"Reliability of the probability\nn = {total} films")
    below.set(xlabel=f"mean probability of {positive}, by bin", ylabel="films")
    whole_numbers(below.yaxis)
    below.grid(axis="y")
    return figure


@drawn
def operating_points(
    truth: npt.NDArray[np.bool_],
    probability: npt.NDArray[np.float64],
    points: Mapping[str, float],
) -> Figure:
    """Sensitivity and specificity against the threshold, and where the operating points lie.

    Args:
        truth: [N], of both classes.
        probability: calibrated, [N] in 0..1.
        points: name → threshold.
    """
    figure = new_figure(5.8, 4.8)
    axes = figure.subplots()
    thresholds = np.linspace(0, 1, 401)
    for chosen, colour, name, over in (
        (truth, POSITIVE, "sensitivity", True),
        (~truth, NEGATIVE, "specificity", False),
    ):
        scores = np.sort(probability[chosen])
        above = 1 - np.searchsorted(scores, thresholds, side="right") / max(len(scores), 1)
        axes.plot(thresholds, above if over else 1 - above, color=colour, linewidth=2, label=name)
    dashes = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), "-")
    for place, (name, threshold) in enumerate(points.items()):
        axes.axvline(threshold, color="black", linewidth=1.1, linestyle=dashes[place % 4],
                     label=f"{name}: above {threshold:.3f}")  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="threshold on the calibrated probability",
             ylabel="sensitivity, specificity")  # fmt: skip
    axes.grid()
    axes.set_title(f"Operating points, on test films\nn = {len(truth)} films, "
                   f"{int(truth.sum())} positive")  # fmt: skip
    figure.legend(loc="outside lower center", ncols=2)
    return figure
