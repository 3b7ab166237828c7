"""How far the figures move when the test films are drawn again: bootstrap histograms by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from cxrexport.report.figures.style import GREY, drawn, new_figure


@drawn
def bootstrap_histograms(
    samples: Mapping[str, Sequence[Sequence[float | None]]], trials: Sequence[str]
) -> Figure:
    """A column a metric, a row a trial: the metric on each resample of that trial's test films.

    Args:
        samples: metric → trial → value on each resample in 0..1; None where undefined.
        trials: their names.
    """
    figure = new_figure(2.4 * len(samples) + 0.6, 0.62 * len(trials) + 1.5)
    grid = figure.subplots(len(trials), len(samples), squeeze=False, sharex="col")
    drawn_in_all = 0
    for column, (metric, by_trial) in enumerate(samples.items()):
        known = [np.array([v for v in values if v is not None]) for values in by_trial]
        everything = np.concatenate(known) if known else np.array([])
        low = float(everything.min()) if len(everything) else 0.0
        area = metric.endswith("AUC")
        scale = 1.0 if area else 100.0  # areas are never per cent
        low = scale * min(np.floor(20 * low) / 20, 0.95)
        bins = np.linspace(low, scale, 31)
        for row, values in enumerate(known):
            axes = grid[row, column]
            drawn_in_all = max(drawn_in_all, len(values))
            axes.set(yticks=[])
            axes.spines["left"].set_visible(False)
            if column == 0:
                axes.set_ylabel(trials[row], rotation=0, ha="right", va="center", fontsize=8)
            if not len(values):
                axes.text(0.5, 0.3, "undefined", transform=axes.transAxes, ha="center", color=GREY)
                continue
            axes.hist(scale * values, bins=bins, color="#56B4E9", edgecolor="white", linewidth=0.3)
            axes.axvline(scale * np.median(values), color="black", linewidth=1.2)
        grid[0, column].set_title(metric, fontweight="normal")
        grid[-1, column].set(xlabel="" if area else "%", xlim=(low, 1.01 * scale))
    figure.suptitle(
        f"{drawn_in_all:,} resamples of the patients of each trial (line: median)",
        x=0.02, ha="left", fontsize=10, weight="bold",
    )  # fmt: skip
    return figure
