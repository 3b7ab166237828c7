"""What a score is worth on films whose truth is known: six figures, their counts and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.measures.exact import proportion_interval
from cxrexport.evaluation.measures.intervals import BOOTSTRAP, Interval, interval, resamples
from cxrexport.evaluation.measures.weighted import (
    METRICS,
    UNDEFINED,
    Metric,
    counted_among,
    measure,
)
from cxrexport.evaluation.scores import Flags, Floats

__all__ = [
    "METRICS",
    "Bootstrapped",
    "Counts",
    "Figures",
    "Interval",
    "Metric",
    "bootstrapped",
    "figures",
    "majority_vote",
    "measure",
    "paired_difference",
]

NO_SCORE = "a vote decides; it has no score to rank films by"


@dataclass(frozen=True)
class Counts:
    """Films by truth and by call; their sum is n. Over several trials, the sum of the trials'."""

    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int


@dataclass(frozen=True)
class Figures:
    """What one score is worth on n films.

    The intervals of proportions (accuracy to npv) are exact (see `exact`), those of the areas are
    percentiles of the resamples. Over random splits, where a film is tested more than once, all
    are percentiles, and those of proportions no narrower than exact ones.

    Attributes:
        n: films; over random splits a film counts in each split that tested it.
        positives: of them.
        counts: so accuracy is (true_positive + true_negative) of n, sensitivity true_positive of
            positives, specificity true_negative of n - positives.
        accuracy: share of films called right.
        sensitivity: share of positive films called positive.
        specificity: share of negative films called negative.
        ppv: share of films called positive that are; depends on the share of positives here.
        npv: share of films called negative that are; likewise.
        roc_auc: chance that a positive film scores above a negative one, ties half.
        pr_auc: average precision (sum of precision over the steps of recall, not interpolated).
        threshold: a film is called positive where its score is above it; None for a vote.
        bootstrap: resamples behind each interval of an area, in all.
        resampled: what was drawn.
    """

    n: int
    positives: int
    counts: Counts
    accuracy: Interval
    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval
    roc_auc: Interval
    pr_auc: Interval
    threshold: float | None
    bootstrap: int
    resampled: Literal["films", "patients"]


@dataclass(frozen=True, eq=False)
class Bootstrapped:
    """Figures, and what they were on every resample.

    Attributes:
        figures: with their intervals.
        values: metric → value on the films themselves, NaN where undefined.
        samples: metric → value on each resample [B], NaN where undefined; for histograms.
        scored: whether there are scores, not only calls.
    """

    figures: Figures
    values: Mapping[Metric, float]
    samples: Mapping[Metric, Floats]
    scored: bool


def bootstrapped(
    truth: Flags,
    probability: Floats | None,
    *,
    called: Flags | None = None,
    threshold: float | None = 0.5,
    bootstrap: int = BOOTSTRAP,
    seed: int | Sequence[int] = 0,
    groups: npt.NDArray[np.str_] | None = None,
    exact: bool = True,
) -> Bootstrapped:
    """The figures of a score or of a call, with every resample.

    Args:
        truth: whether each film is positive, [N], N of at least 1.
        probability: score of each film, [N]; None where there is only a call.
        called: whether each film is called positive, [N]; by default where the score is above the
            threshold.
        threshold: of the call; None goes with `called`.
        bootstrap: resamples.
        seed: of the resamples; the same seed gives the same resamples of the same films.
        groups: each film's patient, to resample patients; None resamples films.
        exact: whether proportions have exact intervals; else they have percentiles, as the study's.

    Raises:
        ValueError: lengths differ, a score is not finite, or there is neither call nor threshold.
    """
    if called is None:
        if probability is None or threshold is None:
            raise ValueError("Give a call for each film, or scores and a threshold.")
        called = np.asarray(probability) > threshold
    _check(truth, called)
    if probability is not None:
        _check(truth, probability)
    if not len(truth):
        raise ValueError("There are no films to measure anything on.")
    weights = resamples(truth, bootstrap=bootstrap, seed=seed, groups=groups)
    samples = measure(truth, probability, called, weights)
    once = measure(truth, probability, called, np.ones((1, len(truth))))
    values: dict[Metric, float] = {metric: float(value[0]) for metric, value in once.items()}
    scored = probability is not None
    each = {
        metric: interval(
            values[metric], samples[metric], undefined=why_undefined(metric, scored=scored)
        )
        for metric in METRICS
    }
    if exact:
        each |= _exactly(truth, called, groups, each)
    found = Figures(
        n=len(truth),
        positives=int(truth.sum()),
        counts=count(truth, called),
        **each,
        threshold=None if threshold is None else float(threshold),
        bootstrap=bootstrap,
        resampled="films" if groups is None else "patients",
    )
    return Bootstrapped(found, values, samples, scored)


def _exactly(
    truth: Flags,
    called: Flags,
    groups: npt.NDArray[np.str_] | None,
    each: Mapping[Metric, Interval],
) -> dict[Metric, Interval]:
    """The proportions that have a value, with their exact intervals."""
    found: dict[Metric, Interval] = {}
    for metric, among in counted_among(truth, called).items():
        if each[metric].value is not None:
            patients = None if groups is None else groups[among]
            low, high = proportion_interval((called == truth)[among], patients)
            found[metric] = replace(each[metric], low=low, high=high, reason=None)
    return found


def figures(
    truth: Flags,
    probability: Floats,
    threshold: float = 0.5,
    *,
    bootstrap: int = BOOTSTRAP,
    seed: int | Sequence[int] = 0,
    groups: npt.NDArray[np.str_] | None = None,
) -> Figures:
    """The figures of a score; arguments as `bootstrapped`."""
    return bootstrapped(
        truth, probability, threshold=threshold, bootstrap=bootstrap, seed=seed, groups=groups
    ).figures


def majority_vote(members: Floats, threshold: float = 0.5) -> Flags:
    """Whether most networks call a film positive; a tie falls to their mean.

    Source: the study's preprint lets five networks vote; with an even number a tie can occur.

    Args:
        members: probability by each of M networks, [M, N].
        threshold: of each network's call, and of the mean's.

    Returns:
        [N].
    """
    if members.ndim != 2 or not len(members):
        raise ValueError(f"members must be [M, N] with M of at least 1, not {members.shape}")
    twice = 2 * (members > threshold).sum(axis=0)
    vote: Flags = np.where(
        twice == len(members), members.mean(axis=0) > threshold, twice > len(members)
    )
    return vote


def paired_difference(
    truth: Flags,
    a: Floats,
    b: Floats,
    metric: Metric = "roc_auc",
    *,
    threshold: float = 0.5,
    bootstrap: int = BOOTSTRAP,
    seed: int | Sequence[int] = 0,
    groups: npt.NDArray[np.str_] | None = None,
) -> Interval:
    """How much better a is than b, both on the same resamples.

    Args:
        truth: whether each film is positive, [N].
        a: score of each film, [N]; or of several networks, [M, N], whose metrics are averaged.
        b: likewise.
        metric: one of `METRICS`.
        threshold: of the call, where the metric needs one.
        bootstrap: resamples.
        seed: of the resamples.
        groups: each film's patient, to resample patients; None resamples films.

    Returns:
        metric(a) - metric(b); the difference is beyond chance where low and high have one sign.
    """
    value, samples = difference_samples(
        truth,
        a,
        b,
        metric,
        resamples(truth, bootstrap=bootstrap, seed=seed, groups=groups),
        threshold=threshold,
    )
    return interval(value, samples, undefined=UNDEFINED[metric])


def difference_samples(
    truth: Flags, a: Floats, b: Floats, metric: Metric, weights: Floats, *, threshold: float
) -> tuple[float, Floats]:
    """metric(a) - metric(b): on the films themselves, and on resamples given as weights [B, N]."""
    whole = np.concatenate([np.ones((1, len(truth))), weights])

    def mean_of(scores: Floats) -> Floats:
        for row in np.atleast_2d(scores):
            _check(truth, row)
        each = [
            measure(truth, row, row > threshold, whole)[metric] for row in np.atleast_2d(scores)
        ]
        mean: Floats = np.mean(each, axis=0)
        return mean

    difference = mean_of(a) - mean_of(b)
    return float(difference[0]), difference[1:]


def why_undefined(metric: Metric, *, scored: bool) -> str:
    """The reason why a metric has no value."""
    by_score = metric in ("roc_auc", "pr_auc")
    return UNDEFINED[metric] if scored or not by_score else NO_SCORE


def count(truth: Flags, called: Flags) -> Counts:
    """Films by truth and call."""
    return Counts(
        true_positive=int((truth & called).sum()),
        false_negative=int((truth & ~called).sum()),
        true_negative=int((~truth & ~called).sum()),
        false_positive=int((~truth & called).sum()),
    )


def _check(truth: Flags, values: npt.NDArray[np.generic]) -> None:
    if truth.dtype != bool or truth.ndim != 1 or values.shape != truth.shape:
        raise ValueError(
            f"truth must be bool [N] and scores [N], not {truth.shape}, {values.shape}"
        )
    if values.dtype != bool and not np.isfinite(values.astype(np.float64)).all():
        raise ValueError("A score is not finite: the network that gave it diverged.")
