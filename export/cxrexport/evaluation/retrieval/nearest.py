"""Which training films lie nearest to each test film, and how far apart the classes are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.scores import Flags, Floats, Scores

QUERIES_AT_ONCE = 256
"""Bounds the distances held at once; it changes no result."""


@dataclass(frozen=True)
class Spread:
    """Distances between films: mean ± standard deviation and the least; None where no pair is."""

    mean: float | None
    sd: float | None
    least: float | None
    pairs: int


@dataclass(frozen=True)
class Distances:
    """Euclidean distances of embeddings, from test film to training film.

    Attributes:
        all: over all pairs.
        positive_positive: over pairs of positive films.
        negative_negative: over pairs of negative films.
        between: over pairs of different class.
        nearest: of each query to its nearest neighbour, one pair a query.
    """

    all: Spread
    positive_positive: Spread
    negative_negative: Spread
    between: Spread
    nearest: Spread


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest training films of Q test films.

    Attributes:
        index: positions in the training films, nearest first, [Q, k]; equal distances in the
            order of the training films.
        distance: Euclidean, [Q, k]; inf where there are no more films.
        same_patient: whether the neighbour is of the query's patient, [Q, k].
        distances: over all pairs that were searched.
        left_out: pairs of one patient that were left out.
        queries_with_left_out: queries that such a pair belongs to.
    """

    index: npt.NDArray[np.int_]
    distance: Floats
    same_patient: Flags
    distances: Distances
    left_out: int
    queries_with_left_out: int


def search(test: Scores, train: Scores, *, neighbours: int, same_patient: bool = True) -> Nearest:
    """Search exactly, pair by pair.

    scikit-learn's NearestNeighbors finds the same films (the tests compare them). It is not used
    because all distances are needed anyway, and because it multiplies them out, which leaves two
    equal films a small distance apart.

    Args:
        test: queries, Q films with embeddings.
        train: films that are searched, with embeddings.
        neighbours: k; fewer where there are fewer films.
        same_patient: whether a query may find films of its own patient.

    Raises:
        ValueError: an embedding is missing or not finite.
    """
    from scipy.spatial.distance import cdist

    queries, searched = _embedding(test), _embedding(train)
    patients, their_patients = test.patients, train.patients
    truth, their_truth = test.truth, train.truth
    k = min(neighbours, len(searched))
    sums = {name: _Sums() for name in ("positive_positive", "negative_negative", "between", "all")}
    found: list[tuple[npt.NDArray[np.int_], Floats, Flags]] = []
    left_out = with_left_out = 0
    for chunk in _chunks(len(queries)):
        distance = cdist(queries[chunk], searched)
        same = patients[chunk, None] == their_patients[None]
        taken = np.ones_like(same) if same_patient else ~same
        left_out += int((~taken).sum())
        with_left_out += int((~taken).any(axis=1).sum())
        positive = truth[chunk, None] & their_truth[None]
        negative = ~truth[chunk, None] & ~their_truth[None]
        sums["all"].add(distance[taken])
        sums["positive_positive"].add(distance[taken & positive])
        sums["negative_negative"].add(distance[taken & negative])
        sums["between"].add(distance[taken & ~positive & ~negative])
        distance[~taken] = np.inf
        index = np.argsort(distance, axis=1, kind="stable")[:, :k]
        found.append(
            (
                index,
                np.take_along_axis(distance, index, axis=1),
                np.take_along_axis(same, index, axis=1),
            )
        )
    index, distance, same = (np.concatenate(part) for part in zip(*found, strict=True))
    sums["nearest"] = _Sums()
    sums["nearest"].add(distance[:, 0][np.isfinite(distance[:, 0])])
    spreads = {name: each.spread() for name, each in sums.items()}
    return Nearest(index, distance, same, Distances(**spreads), left_out, with_left_out)


def mean_distances(trials: list[Distances]) -> Distances | None:
    """Mean over the trials of each mean and standard deviation; None where there is no trial.

    The distances themselves cannot be put together: each trial's network has its own scale.
    """
    if not trials:
        return None

    def mean(name: str) -> Spread:
        spreads = [spread for each in trials if (spread := getattr(each, name)).pairs]
        if not spreads:
            return Spread(None, None, None, 0)
        return Spread(
            mean=float(np.mean([spread.mean for spread in spreads])),
            sd=float(np.mean([spread.sd for spread in spreads])),
            least=min(spread.least for spread in spreads),
            pairs=sum(spread.pairs for spread in spreads),
        )

    return Distances(**{name: mean(name) for name in Distances.__dataclass_fields__})


class _Sums:
    """Mean and standard deviation of numbers that come in parts."""

    def __init__(self) -> None:
        self.pairs, self.total, self.squares, self.least = 0, 0.0, 0.0, np.inf

    def add(self, values: Floats) -> None:
        if values.size:
            self.pairs += values.size
            self.total += float(values.sum())
            self.squares += float((values**2).sum())
            self.least = min(self.least, float(values.min()))

    def spread(self) -> Spread:
        if not self.pairs:
            return Spread(None, None, None, 0)
        mean = self.total / self.pairs
        variance = max(0.0, self.squares / self.pairs - mean**2)
        return Spread(mean, float(np.sqrt(variance)), self.least, self.pairs)


def _embedding(scores: Scores) -> Floats:
    if scores.embedding is None or not np.isfinite(scores.embedding).all():
        raise ValueError("an embedding is missing or not finite")
    return scores.embedding.astype(np.float64)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, QUERIES_AT_ONCE):
        yield slice(start, start + QUERIES_AT_ONCE)
