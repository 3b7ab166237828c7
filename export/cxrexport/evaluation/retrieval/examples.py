"""Queries for the figure of nearest films, chosen by rule: nobody picks what looks good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxrexport.evaluation.retrieval.nearest import Nearest
from cxrexport.evaluation.scores import Floats, Scores

Kind = Literal["best", "typical", "worst"]
KINDS: tuple[Kind, ...] = ("best", "typical", "worst")


@dataclass(frozen=True)
class Neighbour:
    """A training film near a query.

    Attributes:
        index: its position in the trial's training films.
        row: its line in the manifest.
        distance: Euclidean, of the embeddings.
        positive: its label.
        probability: by the ensemble, which learnt from it.
        same_patient: whether it is of the query's patient.
    """

    index: int
    row: int
    distance: float
    positive: bool
    probability: float
    same_patient: bool


@dataclass(frozen=True)
class Example:
    """A query of the figure, and its neighbours.

    Attributes:
        kind: among queries of its class: `best`, whose neighbours agree most with its truth;
            `typical`, whose mean distance to its neighbours is the median one; `worst`, whose
            neighbours contradict it most. Of equals the one with the nearest neighbours.
        trial: position of the trial in the evidence.
        index: position of the query in the trial's test films.
        row: its line in the manifest.
        positive: its label.
        probability: of the query itself, by the ensemble.
        score: mean of the neighbours' predictions.
        neighbours: nearest first.
    """

    kind: Kind
    trial: int
    index: int
    row: int
    positive: bool
    probability: float
    score: float
    neighbours: tuple[Neighbour, ...]


def choose_examples(
    trial: int, test: Scores, train: Scores, nearest: Nearest
) -> tuple[Example, ...]:
    """Choose up to three queries of each class, positive ones first; none twice.

    Args:
        trial: position of the trial in the evidence.
        test: queries, scored by members of the ensemble.
        train: films that were searched, likewise.
        nearest: what `search` found.
    """
    predictions, itself = train.ensemble(), test.ensemble()
    score = predictions[nearest.index].mean(axis=1)
    wrong = np.abs(score - test.truth)
    far = nearest.distance.mean(axis=1)
    examples: list[Example] = []
    for positive in (True, False):
        there = np.flatnonzero(test.truth == positive)
        if not len(there):
            continue
        median = np.sort(far[there])[(len(there) - 1) // 2]
        keys = {"best": wrong, "typical": np.abs(far - median), "worst": -wrong}
        chosen: list[int] = []
        for kind in KINDS:
            left = there[~np.isin(there, chosen)]
            if not len(left):
                break
            chosen.append(int(left[np.lexsort((left, far[left], keys[kind][left]))[0]]))
            examples.append(
                Example(
                    kind=kind,
                    trial=trial,
                    index=chosen[-1],
                    row=test.films[chosen[-1]].row,
                    positive=positive,
                    probability=float(itself[chosen[-1]]),
                    score=float(score[chosen[-1]]),
                    neighbours=_neighbours(chosen[-1], train, predictions, nearest),
                )
            )
    return tuple(examples)


def _neighbours(
    query: int, train: Scores, predictions: Floats, nearest: Nearest
) -> tuple[Neighbour, ...]:
    truth = train.truth
    return tuple(
        Neighbour(
            index=int(i),
            row=train.films[i].row,
            distance=float(distance),
            positive=bool(truth[i]),
            probability=float(predictions[i]),
            same_patient=bool(same),
        )
        for i, distance, same in zip(
            nearest.index[query], nearest.distance[query], nearest.same_patient[query], strict=True
        )
    )
