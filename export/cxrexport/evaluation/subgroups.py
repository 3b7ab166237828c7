"""Whom the ensemble serves: the same figures by sex, age, view, source, finding and difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cxrexport.evaluation.intervals import BOOTSTRAP, Interval
from cxrexport.evaluation.metrics import Figures
from cxrexport.evaluation.scores import Evidence

__all__ = [
    "AGE_BANDS",
    "MIN_FILMS",
    "COLUMNS",
    "Day",
    "DayScores",
    "ErrorRow",
    "Point",
    "Prevalence",
    "Subgroup",
    "Subgroups",
    "judge_subgroups",
]

MIN_FILMS = 30
"""Films of a class below which a subgroup cannot be judged."""
AGE_BANDS = ((0, 40, "<40"), (40, 60, "40-59"), (60, 80, "60-79"), (80, 200, ">=80"))
"""From (inclusive), to (exclusive), name; years."""
COLUMNS = ("sex", "age", "view", "source", "finding", "hard")


@dataclass(frozen=True)
class Subgroup:
    """The films that share one value of a column.

    Attributes:
        column: one of `COLUMNS`.
        value: for example `F`; None for films without a value.
        films: different films.
        positives: of them.
        patients: different patients.
        verdict: `judged`; `one class` (30 films or more of one class and none of the other: only
            what that class defines); `cannot be judged` (fewer than 30 films of a class).
        figures: None where it cannot be judged. Patients are resampled.
        reason: of a verdict other than `judged`.
    """

    column: str
    value: str | None
    films: int
    positives: int
    patients: int
    verdict: Literal["judged", "one class", "cannot be judged"]
    figures: Figures | None
    reason: str | None = None


@dataclass(frozen=True)
class Prevalence:
    """The figures if only this share of the films were positive.

    Attributes:
        prevalence: in 0..1.
        draws: how many.
        films: in each draw.
        positives: in each draw.
        figures: metric → mean over the draws, with their 2.5th and 97.5th percentile.
        reason: why there are none.
    """

    prevalence: float
    draws: int
    films: int
    positives: int
    figures: Mapping[str, Interval]
    reason: str | None = None


@dataclass(frozen=True)
class ErrorRow:
    """Right and wrong films of one sex or age band (value None: not known)."""

    column: Literal["sex", "age"]
    value: str | None
    right: int
    wrong: int
    false_positive: int
    false_negative: int


@dataclass(frozen=True)
class Point:
    """One film: its day, its score and its truth."""

    day: float
    probability: float
    positive: bool


@dataclass(frozen=True)
class Day:
    """All films of a class on one (whole) day."""

    day: int
    positive: bool
    films: int
    mean: float
    wrong: int


@dataclass(frozen=True)
class DayScores:
    """Scores against days; `meaning` is what the days count from, None where it is not said."""

    meaning: str | None
    points: tuple[Point, ...]
    daily: tuple[Day, ...]


@dataclass(frozen=True)
class Subgroups:
    """Item by item; nothing is left out silently.

    Attributes:
        groups: by column, then value; unknown last.
        absent: column → sentence, for columns without a value in any film.
        hard: the films marked hard, then the others, with figures however few they are (the study
            reports 22) and a reason that says so; empty where none is marked.
        prevalence: 5 % and 10 %.
        errors: right and wrong films by sex and age band.
        ages_right: age of each film called right, years, sorted.
        ages_wrong: likewise.
        days: scores against days, one series for each meaning; empty where no film has a day.
        resampled: what the intervals draw.
        reason: why there is nothing at all; None where there is.
    """

    groups: tuple[Subgroup, ...]
    absent: Mapping[str, str]
    hard: tuple[Subgroup, ...]
    prevalence: tuple[Prevalence, ...]
    errors: tuple[ErrorRow, ...]
    ages_right: tuple[float, ...]
    ages_wrong: tuple[float, ...]
    days: tuple[DayScores, ...]
    resampled: str = "patients"
    reason: str | None = None


def judge_subgroups(
    evidence: Evidence,
    *,
    threshold: float = 0.5,
    draws: int = 100,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Subgroups:
    """Judge the ensemble on each subgroup of the test films."""
    raise NotImplementedError
