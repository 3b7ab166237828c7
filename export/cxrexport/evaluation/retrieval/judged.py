"""Similar films: does a test film lie among training films of its own class?

As in the study, queries are test films, neighbours training films, k = 4 by Euclidean distance of
the embeddings, and what is judged is the mean of the neighbours' *predictions*. Those are
predictions of films that the networks learnt from, so close to their labels; the figures with the
labels, and with predictions of networks that had not learnt from the neighbour, stand beside them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from cxrexport.evaluation.measures import (
    BOOTSTRAP,
    Calls,
    Figures,
    calls_by_score,
    judge,
    judge_study,
    trial_seed,
)
from cxrexport.evaluation.retrieval.examples import Example, Neighbour, choose_examples
from cxrexport.evaluation.retrieval.nearest import (
    Distances,
    Nearest,
    Spread,
    mean_distances,
    search,
)
from cxrexport.evaluation.scores import Evidence, Floats, Scores, Trial

__all__ = [
    "NEIGHBOURS",
    "SOURCES",
    "ByNeighbours",
    "Distances",
    "Example",
    "Neighbour",
    "Retrieval",
    "Source",
    "Spread",
    "TrialRetrieval",
    "retrieve",
]

NEIGHBOURS = 4
"""Source: the study's k."""
NOBODY_KNOWS = "no neighbour has such a prediction"

Source = Literal["predictions", "labels", "out_of_fold"]
SOURCES: tuple[Source, ...] = ("predictions", "labels", "out_of_fold")


@dataclass(frozen=True)
class ByNeighbours:
    """The queries judged by the mean of what is known of their neighbours.

    Attributes:
        figures: over the queries that could be judged; None with a reason.
        unjudged: queries left out, because none of their neighbours has it.
        reason: why there are no figures, or what they leave out.
    """

    figures: Figures | None
    unjudged: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class TrialRetrieval:
    """Retrieval within one trial: embeddings of different trials are not comparable.

    Attributes:
        name: the trial's.
        queries: test films.
        searched: training films.
        judged: by what is known of the neighbours: `predictions` of the trial's own ensemble (the
            study's), their `labels`, and their `out_of_fold` predictions, by networks that had
            not learnt from the neighbour (they may have learnt from the query).
        distances: over all pairs of query and training film.
        judged_other_patients: the same with films of the query's own patient left out.
        distances_other_patients: likewise.
        same_patient_pairs: pairs left out; 0 in patient-wise splits.
        same_patient_queries: queries that had such a pair.
        reason: why there is nothing; None where there is.
    """

    name: str
    queries: int
    searched: int
    judged: Mapping[Source, ByNeighbours]
    distances: Distances | None
    judged_other_patients: Mapping[Source, ByNeighbours]
    distances_other_patients: Distances | None
    same_patient_pairs: int
    same_patient_queries: int
    reason: str | None = None


@dataclass(frozen=True)
class Retrieval:
    """Retrieval over a study.

    Attributes:
        neighbours: k.
        trials: in their order.
        judged: over the trials: pooled where they are folds, else the mean over them.
        judged_other_patients: the same with films of the query's own patient left out.
        distances: mean over the trials of each trial's mean and standard deviation.
        examples: for the figure, chosen by rule from the first trial that has embeddings.
        reason: why there is nothing; None where there is.
    """

    neighbours: int
    trials: tuple[TrialRetrieval, ...]
    judged: Mapping[Source, ByNeighbours]
    judged_other_patients: Mapping[Source, ByNeighbours]
    distances: Distances | None
    examples: tuple[Example, ...]
    reason: str | None = None


def retrieve(
    evidence: Evidence,
    *,
    neighbours: int = NEIGHBOURS,
    threshold: float = 0.5,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Retrieval:
    """Judge each test film by the training films nearest to it.

    Args:
        evidence: the study's trials; one without embeddings or training films is left out.
        neighbours: k.
        threshold: a query is called positive where the neighbours' mean is above it, so two of
            four positive labels call it negative.
        bootstrap: resamples of the queries' patients.
        seed: of the resamples.
    """
    out_of_fold = _out_of_fold(evidence)
    found = [_search(trial, out_of_fold, neighbours, threshold) for trial in evidence.trials]
    there = [each for each in found if isinstance(each, _Found)]

    def in_trial(at: tuple[int, int], calls: list[Calls]) -> Figures:
        return judge(calls[0], bootstrap=bootstrap, seed=at).figures

    def over_study(calls: list[Calls]) -> Figures:
        return judge_study(calls, folds=evidence.folds, bootstrap=bootstrap, seed=seed)

    trials: list[TrialRetrieval] = []
    for i, (trial, each) in enumerate(zip(evidence.trials, found, strict=True)):
        if isinstance(each, str):
            trials.append(_nothing(trial, each))
            continue
        judged = partial(in_trial, trial_seed(seed, i))
        trials.append(
            TrialRetrieval(
                name=trial.name,
                queries=len(trial.test),
                searched=len(each.train),
                judged=_judgements([each.said], judged),
                distances=each.nearest.distances,
                judged_other_patients=_judgements([each.said_by_others], judged),
                distances_other_patients=each.others.distances,
                same_patient_pairs=each.others.left_out,
                same_patient_queries=each.others.queries_with_left_out,
            )
        )
    return Retrieval(
        neighbours=neighbours,
        trials=tuple(trials),
        judged=_judgements([each.said for each in there], over_study),
        judged_other_patients=_judgements([each.said_by_others for each in there], over_study),
        distances=mean_distances([each.nearest.distances for each in there]),
        examples=_examples(evidence, found),
        reason=None if there else trials[0].reason,
    )


# --- one trial -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Said:
    """What one source of judgement calls the queries; no calls with a reason."""

    calls: Calls | None
    unjudged: int = 0
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class _Found:
    """One trial's search, with and without the query's own patient."""

    train: Scores
    nearest: Nearest
    others: Nearest
    said: Mapping[Source, _Said]
    said_by_others: Mapping[Source, _Said]


def _search(
    trial: Trial, out_of_fold: Mapping[Path, float], neighbours: int, threshold: float
) -> _Found | str:
    """Search, or say why there is nothing to search."""
    train, test = trial.train, trial.test
    if train is None or not len(train):
        return "the training films were not scored"
    if train.embedding is None or test.embedding is None:
        return f"there are no embeddings: {train.embedder} was not trained"
    sources: dict[Source, Floats | str] = {
        "predictions": (
            train.ensemble() if train.members else "no network of the ensemble was trained"
        ),
        "labels": train.truth.astype(np.float64),
        "out_of_fold": _of_films(out_of_fold, train),
    }
    nearest = search(test, train, neighbours=neighbours)
    others = search(test, train, neighbours=neighbours, same_patient=False)

    def said(by: Nearest) -> dict[Source, _Said]:
        return {source: _say(value, by, test, threshold) for source, value in sources.items()}

    return _Found(train, nearest, others, said(nearest), said(others))


def _say(value: Floats | str, nearest: Nearest, test: Scores, threshold: float) -> _Said:
    """Call each query by the mean over its neighbours of a value [T], NaN where unknown."""
    if isinstance(value, str):
        return _Said(None, len(test), value)
    of_neighbours = np.where(np.isfinite(nearest.distance), value[nearest.index], np.nan)
    known = np.isfinite(of_neighbours)
    judged = known.any(axis=1)
    if not judged.any():
        return _Said(None, len(test), NOBODY_KNOWS)
    score = np.where(known, of_neighbours, 0.0).sum(axis=1)[judged] / known.sum(axis=1)[judged]
    return _Said(calls_by_score(test.take(judged), score, threshold), int((~judged).sum()))


def _out_of_fold(evidence: Evidence) -> dict[Path, float]:
    """Film → mean prediction over the trials that tested it, by networks that never saw it."""
    said: dict[Path, list[float]] = defaultdict(list)
    for trial in evidence.trials:
        if trial.test.members:
            for film, probability in zip(trial.test.films, trial.test.ensemble(), strict=True):
                said[film.image].append(float(probability))
    return {image: float(np.mean(each)) for image, each in said.items()}


def _of_films(out_of_fold: Mapping[Path, float], train: Scores) -> Floats | str:
    value = np.array([out_of_fold.get(film.image, np.nan) for film in train.films])
    return value if np.isfinite(value).any() else "no training film was tested in another trial"


def _nothing(trial: Trial, reason: str) -> TrialRetrieval:
    searched = len(trial.train) if trial.train else 0
    return TrialRetrieval(trial.name, len(trial.test), searched, {}, None, {}, None, 0, 0, reason)


# --- figures -------------------------------------------------------------------------------------


def _judgements(
    trials: Sequence[Mapping[Source, _Said]], figures: Callable[[list[Calls]], Figures]
) -> dict[Source, ByNeighbours]:
    if not trials:
        return {}
    return {source: _judgement([said[source] for said in trials], figures) for source in SOURCES}


def _judgement(said: Sequence[_Said], figures: Callable[[list[Calls]], Figures]) -> ByNeighbours:
    calls = [each.calls for each in said if each.calls is not None]
    unjudged = sum(each.unjudged for each in said)
    if not calls:
        return ByNeighbours(None, unjudged, said[0].reason)
    queries = unjudged + sum(len(each.truth) for each in calls)
    return ByNeighbours(
        figures=figures(calls),
        unjudged=unjudged,
        reason=f"without {unjudged} of {queries} queries: {NOBODY_KNOWS}" if unjudged else None,
    )


def _examples(evidence: Evidence, found: Sequence[_Found | str]) -> tuple[Example, ...]:
    for i, (trial, each) in enumerate(zip(evidence.trials, found, strict=True)):
        if isinstance(each, _Found) and each.train.members and trial.test.members:
            return choose_examples(i, trial.test, each.train, each.nearest)
    return ()
