"""Whose films are judged wrong: sex and age of right and wrong films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cxrexport.report.figures.style import GREY, drawn, legend_below, new_figure, whole_numbers

RIGHT, WRONG = "#56B4E9", "#7B5A12"
_UNKNOWN = "not known"


@drawn
def sex_and_age(
    by_sex: Sequence[tuple[str | None, int, int]],
    ages_right: Sequence[float],
    ages_wrong: Sequence[float],
) -> Figure:
    """Share of wrong films by sex, and the ages of right and wrong films.

    Args:
        by_sex: sex (None: not known), films judged right, films judged wrong.
        ages_right: years, of the films judged right whose age is known.
        ages_wrong: likewise of those judged wrong.
    """
    figure = new_figure(7.2, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    _draw_sex(left, by_sex)
    _draw_ages(right, ages_right, ages_wrong)
    if ages_right or ages_wrong:
        legend_below(figure, right)
    figure.suptitle(
        "Right and wrong films by sex and age",
        x=0.02, ha="left", fontsize=10, weight="bold",
    )  # fmt: skip
    return figure


def _draw_sex(axes: Any, by_sex: Sequence[tuple[str | None, int, int]]) -> None:
    films = sum(good + bad for _, good, bad in by_sex)
    axes.set_title(f"sex, n = {films} films", fontweight="normal")
    if not any(sex for sex, _, _ in by_sex):
        _absent(axes, "no film has a sex")
        return
    for place, (_, good, bad) in enumerate(by_sex):
        total = max(good + bad, 1)
        axes.bar(place, 100 * bad / total, color=WRONG, width=0.6)
        axes.text(place, 100 * bad / total, f"{bad} of {good + bad}", ha="center", va="bottom",
                  fontsize=8.5)  # fmt: skip
    axes.set_xticks(range(len(by_sex)), labels=[sex or _UNKNOWN for sex, _, _ in by_sex])
    axes.set_ylabel("films judged wrong, %")
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")


def _draw_ages(axes: Any, ages_right: Sequence[float], ages_wrong: Sequence[float]) -> None:
    ages = [*ages_right, *ages_wrong]
    axes.set_title(f"age, n = {len(ages)} films with one", fontweight="normal")
    if not ages:
        _absent(axes, "no film has an age")
        return
    bins = np.arange(10 * (min(ages) // 10), 10 * (max(ages) // 10) + 11, 10)
    axes.hist(
        [ages_right, ages_wrong],
        bins=bins,
        stacked=True,
        color=[RIGHT, WRONG],
        edgecolor="white",
        linewidth=0.5,
        label=[f"right (n = {len(ages_right)})", f"wrong (n = {len(ages_wrong)})"],
    )
    axes.set(xlabel="age, years (bins of 10)", ylabel="films")
    whole_numbers(axes.yaxis)
    axes.grid(axis="y")


def _absent(axes: Any, sentence: str) -> None:
    axes.text(0.5, 0.5, sentence, ha="center", transform=axes.transAxes, color=GREY)
    axes.set(xticks=[], yticks=[])
