"""The score in the course of the disease."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cxrexport.report.figures.style import NEGATIVE, POSITIVE, drawn, new_figure, whole_numbers

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_SHARE_SHOWN = (1.0, 99.0)
"""Percentiles of the days that the axis spans: one film after a year would press the rest
together. Films outside are counted in the title."""


@drawn
def score_against_days(
    days: Floats,
    probability: Floats,
    truth: Flags,
    daily: tuple[Floats, Floats, Flags],
    labels: tuple[str, str],
    meaning: str | None,
) -> Figure:
    """Each film's probability against its day, and the mean of the films of each day.

    Args:
        days: [N], finite.
        probability: [N] in 0..1.
        truth: [N].
        daily: day [D], mean probability [D] and class [D] of the daily means.
        labels: negative and positive class.
        meaning: what the days count from, as the manifest says it; None where it does not.
    """
    low, high = np.percentile(days, _SHARE_SHOWN) if len(days) > 50 else (days.min(), days.max())
    shown = (days >= low) & (days <= high)
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    for positive, colour in ((False, NEGATIVE), (True, POSITIVE)):
        chosen = (truth == positive) & shown
        if not chosen.any():
            continue
        axes.scatter(
            days[chosen],
            probability[chosen],
            s=16,
            c=colour,
            alpha=0.45,
            linewidths=0,
            label=f"{labels[positive]}: a film (n = {int(chosen.sum())})",
        )
        day, mean, of_class = daily
        inside = (of_class == positive) & (day >= low) & (day <= high)
        order = np.argsort(day[inside])
        axes.plot(
            day[inside][order],
            mean[inside][order],
            color=colour,
            marker="D",
            markersize=4.5,
            markeredgecolor="black",
            markeredgewidth=0.6,
            label=f"{labels[positive]}: mean of a day",
        )
    axes.axhline(0.5, color="black", linewidth=0.8, linestyle=(0, (4, 2)))
    axes.set(
        ylim=(-0.02, 1.02),
        xlabel=_axis(meaning),
        ylabel=f"probability of {labels[1]}",
    )
    whole_numbers(axes.xaxis)
    axes.grid()
    beyond = int((~shown).sum())
    note = f"; {beyond} before day {low:.0f} or after day {high:.0f} not shown" if beyond else ""
    axes.set_title(f"Score against day\nn = {int(shown.sum())} films{note}")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _axis(meaning: str | None) -> str:
    if meaning is None:
        return "day (the manifest does not say since when)"
    return meaning if meaning.lower().startswith("day") else f"days since {meaning}"
