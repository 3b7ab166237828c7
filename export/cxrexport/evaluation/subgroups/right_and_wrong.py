"""Right and wrong films: the most certain ones, by sex and age, and scores against days."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxrexport.evaluation.measures import Calls
from cxrexport.evaluation.scores import Evidence
from cxrexport.evaluation.subgroups.film_columns import value_of, values_of
from cxrexport.manifest import FilmRow


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
    """All films of a class on one (whole) day: mean score, and how many were called wrong."""

    day: int
    positive: bool
    films: int
    mean: float
    wrong: int


@dataclass(frozen=True)
class DayScores:
    """Scores against days.

    Attributes:
        meaning: what the days count from; None where the manifest does not say.
        points: by day.
        daily: by day, positive films first.
    """

    meaning: str | None
    points: tuple[Point, ...]
    daily: tuple[Day, ...]


@dataclass(frozen=True)
class Judged:
    """A test film with the mean of its probabilities over the trials that tested it."""

    film: FilmRow
    probability: float


@dataclass(frozen=True)
class Extremes:
    """Test films by how far their probability is from the threshold, the farthest first."""

    right: tuple[Judged, ...]
    wrong: tuple[Judged, ...]


def extremes(evidence: Evidence, threshold: float) -> Extremes:
    """Order the test films that were judged right, and those judged wrong, each once."""
    said: dict[FilmRow, list[float]] = defaultdict(list)
    for trial in evidence.trials:
        if trial.test.members:
            for film, probability in zip(trial.test.films, trial.test.ensemble(), strict=True):
                said[film].append(float(probability))
    each = [Judged(film, float(np.mean(values))) for film, values in said.items()]
    each.sort(key=lambda one: (-abs(one.probability - threshold), one.film.row))
    positive = evidence.labels[1]
    right = [(one.probability > threshold) == (one.film.label == positive) for one in each]
    return Extremes(
        tuple(one for one, good in zip(each, right, strict=True) if good),
        tuple(one for one, good in zip(each, right, strict=True) if not good),
    )


def errors(films: Sequence[FilmRow], calls: Calls) -> tuple[ErrorRow, ...]:
    """Count right and wrong films by sex and by age band; no rows for a column without values."""
    wrong = calls.called != calls.truth
    rows: list[ErrorRow] = []
    columns: tuple[Literal["sex", "age"], ...] = ("sex", "age")
    for column in columns:
        values = values_of(films, column)
        if values == [None]:
            continue
        for value in values:
            there = np.array([value_of(film, column) == value for film in films])
            rows.append(
                ErrorRow(
                    column=column,
                    value=value,
                    right=int((there & ~wrong).sum()),
                    wrong=int((there & wrong).sum()),
                    false_positive=int((there & wrong & ~calls.truth).sum()),
                    false_negative=int((there & wrong & calls.truth).sum()),
                )
            )
    return tuple(rows)


def ages(films: Sequence[FilmRow], calls: Calls) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Ages of the films called right and of those called wrong, in years, sorted."""
    right = calls.called == calls.truth
    known = [(film.age, there) for film, there in zip(films, right, strict=True)]
    return (
        tuple(sorted(age for age, there in known if age is not None and there)),
        tuple(sorted(age for age, there in known if age is not None and not there)),
    )


def days(films: Sequence[FilmRow], calls: Calls) -> tuple[DayScores, ...]:
    """One series for each meaning of the days; empty where no film has a day."""
    if calls.probability is None:
        return ()
    series: dict[str | None, list[tuple[Point, bool]]] = defaultdict(list)
    wrong = calls.called != calls.truth
    for film, probability, truth, error in zip(
        films, calls.probability, calls.truth, wrong, strict=True
    ):
        if film.offset_days is not None:
            point = Point(film.offset_days, float(probability), bool(truth))
            series[film.offset_meaning].append((point, bool(error)))
    meanings = sorted(series, key=lambda meaning: (meaning is None, meaning or ""))
    return tuple(_series(meaning, series[meaning]) for meaning in meanings)


def _series(meaning: str | None, points: list[tuple[Point, bool]]) -> DayScores:
    points.sort(key=lambda each: (each[0].day, each[0].positive, each[0].probability))
    daily: dict[tuple[int, bool], list[tuple[Point, bool]]] = defaultdict(list)
    for each in points:
        daily[math.floor(each[0].day), each[0].positive].append(each)
    return DayScores(
        meaning=meaning,
        points=tuple(point for point, _ in points),
        daily=tuple(
            Day(
                day=day,
                positive=positive,
                films=len(there),
                mean=float(np.mean([point.probability for point, _ in there])),
                wrong=sum(error for _, error in there),
            )
            for (day, positive), there in sorted(
                daily.items(), key=lambda item: (item[0][0], not item[0][1])
            )
        ),
    )
