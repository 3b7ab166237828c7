"""What was studied: films and patients in all, by source, and by trial and side of its split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cxrexport.evaluation.scores import Evidence, Scores
from cxrexport.manifest import FilmRow


@dataclass(frozen=True)
class FilmCount:
    """Different films, and whose they are.

    Attributes:
        name: of the group, for example a source; None where it is not stated.
        films: different films.
        patients: different patients.
        positives: films of the positive class.
    """

    name: str | None
    films: int
    patients: int
    positives: int


@dataclass(frozen=True)
class TrialFilms:
    """One trial's films; None where a side was not scored, so that nobody counted it."""

    name: str
    train: FilmCount | None
    validation: FilmCount | None
    test: FilmCount


@dataclass(frozen=True)
class Collection:
    """The films of a study.

    Attributes:
        all: every film that a trial learnt from, chose by or was judged on.
        by_source: in the order of their names; films without a stated source last.
        trials: in their order.
    """

    all: FilmCount
    by_source: tuple[FilmCount, ...]
    trials: tuple[TrialFilms, ...]


def collection_of(evidence: Evidence) -> Collection:
    """Count the films of the evidence, each once, however many trials it is in."""
    positive = evidence.labels[1]

    def count(films: Iterable[FilmRow], name: str | None) -> FilmCount:
        each = {str(film.image): film for film in films}.values()
        return FilmCount(
            name,
            len(each),
            len({film.patient_id for film in each}),
            sum(film.label == positive for film in each),
        )

    def side(scores: Scores | None, name: str) -> FilmCount | None:
        return None if scores is None else count(scores.films, name)

    films = _all_films(evidence)
    sources = sorted({film.source for film in films}, key=lambda name: (name is None, name or ""))
    return Collection(
        all=count(films, "all"),
        by_source=tuple(count([f for f in films if f.source == name], name) for name in sources),
        trials=tuple(
            TrialFilms(
                trial.name,
                side(trial.train, "train"),
                side(trial.validation, "validation"),
                count(trial.test.films, "test"),
            )
            for trial in evidence.trials
        ),
    )


def _all_films(evidence: Evidence) -> Sequence[FilmRow]:
    return [
        film
        for trial in evidence.trials
        for scores in (trial.train, trial.validation, trial.test)
        if scores is not None
        for film in scores.films
    ]
