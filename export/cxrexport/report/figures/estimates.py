"""Values with their 95 % intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from cxrexport.report.figures.style import GREY, drawn, new_figure

_ROW_IN = 0.27


@dataclass(frozen=True)
class Estimate:
    """One line of the figure.

    Attributes:
        label: what was measured.
        value: None draws a line that says `reason`.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
        note: right of the line, for example `n = 120`.
        group: heading that stands above the first of its lines.
        strong: drawn black, for the line that the others are compared with.
        paper: the study's own value, drawn as a hollow diamond.
        reason: why there is no value.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    group: str | None = None
    strong: bool = False
    paper: float | None = None
    reason: str | None = None


@drawn
def estimates(
    rows: Sequence[Estimate],
    title: str,
    axis: str,
    *,
    reference: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw a dot and its interval a row.

    Args:
        rows: from top to bottom.
        title: with n, where the rows have the same films.
        axis: what is measured, with its unit.
        reference: where a dashed line stands, for example an AUC of 0.5.
        limits: of the axis; from the data where None.
    """
    places, headings, y = [], [], 0.0
    group = None
    for row in rows:
        if row.group is not None and row.group != group:
            headings.append((y, row.group))
            y += 1
        group = row.group
        places.append(y)
        y += 1
    figure = new_figure(6.6, 1.25 + _ROW_IN * y)
    axes = figure.subplots()
    for place, row in zip(places, rows, strict=True):
        _draw(axes, place, row)
    for place, text in headings:
        axes.text(-0.012, place, text, transform=axes.get_yaxis_transform(), ha="right",
                  va="center", weight="bold", fontsize=8.5)  # fmt: skip
    if reference is not None:
        axes.axvline(reference, color=GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    axes.set_yticks(places, labels=[row.label for row in rows])
    axes.set(ylim=(max(y, 1) - 0.4, -0.7), xlabel=axis)
    if limits is not None:
        axes.set_xlim(*limits)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    for place, row in zip(places, rows, strict=True):
        if row.note:
            axes.text(1.015, place, row.note, transform=axes.get_yaxis_transform(), va="center",
                      fontsize=8, color=GREY)  # fmt: skip
        if row.value is None:
            axes.text(0.01, place, row.reason or "no value", transform=axes.get_yaxis_transform(),
                      va="center", fontsize=8, color=GREY, style="italic", zorder=6,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    if any(row.paper is not None for row in rows):
        axes.scatter([], [], marker="D", s=26, facecolors="white", edgecolors="black",
                     label="the study's own value")  # fmt: skip
        figure.legend(loc="outside lower center")
    axes.set_title(title)
    return figure


def _draw(axes: Any, place: float, row: Estimate) -> None:
    if row.paper is not None:
        axes.scatter([row.paper], [place], marker="D", s=26, facecolors="white",
                     edgecolors="black", linewidths=0.9, zorder=3)  # fmt: skip
    if row.value is None:
        return
    colour = "#000000" if row.strong else "#0072B2"
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2, zorder=2,
                  solid_capstyle="butt")  # fmt: skip
    axes.scatter([row.value], [place], s=34, color=colour, zorder=4)
