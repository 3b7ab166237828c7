"""Do probabilities match frequencies? Reliability curve, Brier score, calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.measures import BOOTSTRAP, Interval, interval, resamples
from cxrexport.evaluation.scores import Flags, Floats

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """How probabilities match frequencies, in bins of equal width over 0..1.

    Attributes:
        edges: of the bins, [bins + 1].
        counts: films in each bin; a probability on an edge is in the bin above it.
        predicted: mean probability in each; None where it is empty.
        observed: share of positive films in each; None where it is empty.
        brier: mean squared error of the probability.
        ece: expected calibration error: |predicted - observed|, weighted by counts. It has no
            interval: drawing films again adds noise to each bin, and so only ever inflates it.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    predicted: tuple[float | None, ...]
    observed: tuple[float | None, ...]
    brier: Interval
    ece: float


def reliability(
    truth: Flags,
    probability: Floats,
    *,
    bins: int = BINS,
    bootstrap: int = BOOTSTRAP,
    seed: int | Sequence[int] = 0,
    groups: npt.NDArray[np.str_] | None = None,
) -> Reliability:
    """The reliability of probabilities.

    Source: Guo et al., ICML 2017, section 2, for the probability of the positive class. (There is
    calibration_curve in scikit-learn; it keeps no counts, and so gives no error.)

    Args:
        truth: whether each film is positive, [N], N of at least 1.
        probability: of each film, [N] in 0..1.
        bins: of equal width.
        bootstrap: resamples behind the Brier score's interval.
        seed: of the resamples.
        groups: each film's patient, to resample patients; None resamples films.
    """
    if probability.shape != truth.shape or not len(truth) or bins < 1:
        raise ValueError("probability must be [N] like truth, with N and bins of at least 1")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("a probability must lie in 0..1")
    edges = np.arange(bins + 1) / bins  # 3 / 10 is the float 0.3; linspace is one step above it
    where = np.searchsorted(edges[1:-1], probability, side="right")
    counts = np.bincount(where, minlength=bins)
    sums = np.bincount(where, probability, minlength=bins).astype(np.float64)
    positives = np.bincount(where, truth, minlength=bins).astype(np.float64)
    weights = resamples(truth, bootstrap=bootstrap, seed=seed, groups=groups)
    errors = (probability - truth) ** 2

    def mean(total: Floats) -> tuple[float | None, ...]:
        return tuple(float(s / n) if n else None for s, n in zip(total, counts, strict=True))

    return Reliability(
        edges=tuple(float(edge) for edge in edges),
        counts=tuple(int(n) for n in counts),
        predicted=mean(sums),
        observed=mean(positives),
        brier=interval(float(errors.mean()), _weighted(errors, weights)),
        ece=float(np.abs(sums - positives).sum() / len(truth)),
    )


def brier_change(
    truth: Flags,
    before: Floats,
    after: Floats,
    *,
    bootstrap: int = BOOTSTRAP,
    seed: int | Sequence[int] = 0,
    groups: npt.NDArray[np.str_] | None = None,
) -> Interval:
    """Brier score after minus before, paired on the same resamples; arguments as `reliability`."""
    change = (after - truth) ** 2 - (before - truth) ** 2
    weights = resamples(truth, bootstrap=bootstrap, seed=seed, groups=groups)
    return interval(float(change.mean()), _weighted(change, weights))


def _weighted(values: Floats, weights: Floats) -> Floats:
    # Not weights @ values: BLAS adds in an order that depends on its threads.
    mean: Floats = (weights * values).sum(axis=1) / weights.sum(axis=1)
    return mean
