"""Similar films: whether a test film's nearest training films share its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cxrexport.evaluation.intervals import BOOTSTRAP
from cxrexport.evaluation.metrics import Figures
from cxrexport.evaluation.scores import Evidence

__all__ = [
    "NEIGHBOURS",
    "Distances",
    "Example",
    "Judgement",
    "Neighbour",
    "Retrieval",
    "Spread",
    "TrialRetrieval",
    "retrieve",
]

NEIGHBOURS = 4
"""Source: the study's k."""


@dataclass(frozen=True)
class Spread:
    """Distances between films: mean ± standard deviation over all pairs; None where none are."""

    mean: float | None
    sd: float | None
    least: float | None
    pairs: int


@dataclass(frozen=True)
class Distances:
    """Euclidean distances of embeddings, test film to training film."""

    all: Spread
    positive_positive: Spread
    negative_negative: Spread
    between: Spread
    nearest: Spread
    """Of each query to its nearest neighbour: one pair a query."""


@dataclass(frozen=True)
class Judgement:
    """The queries judged by their neighbours.

    Attributes:
        figures: over the queries that could be judged; its counts say n of N. None with a reason.
        unjudged: queries left out, because no neighbour of theirs has such a prediction.
        reason: why there are no figures, or what they leave out.
    """

    figures: Figures | None
    unjudged: int = 0
    reason: str | None = None


Source = Literal["predictions", "labels", "out_of_fold"]


@dataclass(frozen=True)
class TrialRetrieval:
    """Retrieval within one trial: embeddings of different trials are not comparable.

    Attributes:
        name: the trial's.
        queries: test films.
        searched: training films.
        judged: what the neighbours say → figures: `predictions` of the trial's own ensemble (as
            in the study; these networks learnt from the neighbours), their `labels`, and their
            `out_of_fold` predictions.
        distances: over all pairs of query and training film.
        judged_other_patients: the same with the query's own patient left out.
        distances_other_patients: likewise.
        same_patient_pairs: pairs left out; 0 in patient-wise splits.
        same_patient_queries: queries that had such a pair.
        reason: why there is nothing; None where there is.
    """

    name: str
    queries: int
    searched: int
    judged: Mapping[Source, Judgement]
    distances: Distances | None
    judged_other_patients: Mapping[Source, Judgement]
    distances_other_patients: Distances | None
    same_patient_pairs: int
    same_patient_queries: int
    reason: str | None = None


@dataclass(frozen=True)
class Neighbour:
    """A training film near a query; `index` is its position in the trial's train films."""

    index: int
    row: int
    distance: float
    positive: bool
    probability: float
    same_patient: bool


@dataclass(frozen=True)
class Example:
    """A query for the figure; `index` is its position in the trial's test films.

    Attributes:
        kind: for example `closest, positive`.
        trial: position of the trial in the evidence.
        index: position of the query in the trial's test films.
        row: line of the manifest.
        positive: truth.
        probability: by the ensemble, of the query itself.
        score: mean of the neighbours' predictions.
        neighbours: nearest first.
    """

    kind: str
    trial: int
    index: int
    row: int
    positive: bool
    probability: float
    score: float
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Retrieval:
    """Retrieval over a study.

    Attributes:
        neighbours: k.
        trials: in their order.
        judged: over the trials: pooled where they are folds, else the mean over them.
        judged_other_patients: the same with the query's own patient left out.
        distances: mean over the trials of each trial's mean and standard deviation.
        examples: for the figure, chosen by rule, from the first trial that has embeddings.
        reason: why there is nothing; None where there is.
    """

    neighbours: int
    trials: tuple[TrialRetrieval, ...]
    judged: Mapping[Source, Judgement]
    judged_other_patients: Mapping[Source, Judgement]
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
    """Judge each test film by the training films nearest to it."""
    raise NotImplementedError
