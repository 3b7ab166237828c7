"""Whom the ensemble serves: the same figures by sex, age, view, source, finding and difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxrexport.evaluation.measures import BOOTSTRAP, Calls, Figures, calls_by_score, judge, pool
from cxrexport.evaluation.scores import Evidence
from cxrexport.evaluation.subgroups.film_columns import (
    AGE_BANDS,
    COLUMNS,
    absent_columns,
    value_of,
    values_of,
)
from cxrexport.evaluation.subgroups.prevalence import PREVALENCES, Prevalence, at_prevalence
from cxrexport.evaluation.subgroups.right_and_wrong import (
    Day,
    DayScores,
    ErrorRow,
    Point,
    ages,
    days,
    errors,
)
from cxrexport.manifest import FilmRow

__all__ = [
    "AGE_BANDS",
    "COLUMNS",
    "MIN_FILMS",
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
CanBeJudged = Literal["judged", "one class", "cannot be judged"]


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
    verdict: CanBeJudged
    figures: Figures | None
    reason: str | None = None


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
    """Judge the ensemble on each subgroup of the test films.

    Over random splits a film counts in the figures as often as it was tested; whether a subgroup
    can be judged depends on its different films, and its intervals draw patients with all that is
    theirs, so that testing a film twice does not make them narrower.

    Args:
        evidence: the study's trials; temperatures are 1, as in the study.
        threshold: above which a film is called positive.
        draws: for each prevalence, from each unit.
        bootstrap: resamples of patients.
        seed: of the resamples and draws.
    """
    trials = [trial.test for trial in evidence.trials if trial.test.members and len(trial.test)]
    if not trials:
        reason = "no network of the ensemble was trained"
        return Subgroups((), {}, (), (), (), (), (), (), reason=reason)
    each = [calls_by_score(test, test.ensemble(), threshold) for test in trials]
    films = tuple(film for test in trials for film in test.films)
    table = _Table(films, pool(each), evidence.labels, bootstrap, seed)
    absent = absent_columns(films)
    units = [table.calls] if evidence.folds else each
    right, wrong = ages(films, table.calls)
    return Subgroups(
        groups=tuple(
            table.judge(column, value)
            for column in COLUMNS
            if column not in absent
            for value in values_of(films, column)
        ),
        absent=absent,
        hard=()
        if "hard" in absent
        else tuple(
            table.judge("hard", value, however_few=True) for value in values_of(films, "hard")
        ),
        prevalence=tuple(at_prevalence(units, p, draws=draws, seed=seed) for p in PREVALENCES),
        errors=errors(films, table.calls),
        ages_right=right,
        ages_wrong=wrong,
        days=days(films, table.calls),
    )


@dataclass(frozen=True, eq=False)
class _Table:
    """All tested films with the ensemble's calls, one after the other."""

    films: tuple[FilmRow, ...]
    calls: Calls
    labels: tuple[str, str]
    bootstrap: int
    seed: int

    def judge(self, column: str, value: str | None, *, however_few: bool = False) -> Subgroup:
        there = np.array([value_of(film, column) == value for film in self.films])
        calls = self.calls.take(there)
        films = {self.films[i].image: bool(self.calls.truth[i]) for i in np.flatnonzero(there)}
        positives = sum(films.values())
        verdict, reason = self._verdict(positives, len(films) - positives)
        withheld = not films or (verdict == "cannot be judged" and not however_few)
        return Subgroup(
            column=column,
            value=value,
            films=len(films),
            positives=positives,
            patients=len(set(calls.patients)),
            verdict=verdict,
            figures=None
            if withheld
            else judge(calls, bootstrap=self.bootstrap, seed=self.seed).figures,
            reason=reason,
        )

    def _verdict(self, positives: int, negatives: int) -> tuple[CanBeJudged, str | None]:
        negative, positive = self.labels
        if min(positives, negatives) >= MIN_FILMS:
            return "judged", None
        counts = f"{positives} {positive} and {negatives} {negative} films"
        if positives and negatives:
            return "cannot be judged", f"{counts}: fewer than {MIN_FILMS} of a class"
        only, metric = (positive, "sensitivity") if positives else (negative, "specificity")
        if positives + negatives >= MIN_FILMS:
            return "one class", f"only {only} films: {metric} alone is defined"
        return "cannot be judged", f"only {only} films, and fewer than {MIN_FILMS}"
