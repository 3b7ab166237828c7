"""What the ensemble would be worth where the disease is rarer than among the test films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrexport.evaluation.measures import (
    METRICS,
    PERCENTILES,
    UNDEFINED,
    Calls,
    Interval,
    Metric,
    measure,
)
from cxrexport.evaluation.scores import Flags, Floats

PREVALENCES = (0.05, 0.10)
"""Source: the study."""

_MOST_OFF = 0.1
"""Most that a draw of whole films may miss the wanted prevalence by, as a share of it."""


@dataclass(frozen=True)
class Prevalence:
    """The figures if only this share of the films were positive.

    Attributes:
        prevalence: in 0..1.
        draws: how many, in all.
        films: in each draw (over random splits the mean over them).
        positives: in each draw, likewise.
        figures: metric → mean over the draws, with their 2.5th and 97.5th percentile; empty with a
            reason.
        reason: why there are none.
    """

    prevalence: float
    draws: int
    films: int
    positives: int
    figures: Mapping[str, Interval]
    reason: str | None = None


def at_prevalence(
    units: Sequence[Calls], prevalence: float, *, draws: int = 100, seed: int = 0
) -> Prevalence:
    """Draw films of each class, with replacement, in the proportion that is asked for.

    As many negative films as there are, and positive ones to match; where there are too few
    positive films for that, all of these and fewer negative ones. Both classes are drawn with
    replacement, so that the interval holds the chance of either.

    Args:
        units: films that are drawn from together: the pooled folds, or each random split.
        prevalence: between 0 and 1.
        draws: from each unit.
        seed: of the draws.
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence must lie between 0 and 1, not {prevalence}")
    samples: dict[Metric, list[Floats]] = {metric: [] for metric in METRICS}
    sizes: list[tuple[int, int]] = []
    for i, unit in enumerate(units):
        positives, negatives = _sizes(unit.truth, prevalence)
        share = positives / max(1, positives + negatives)
        if not negatives or abs(share - prevalence) > _MOST_OFF * prevalence:
            reason = f"too few films for a share of {100 * prevalence:g} % positive"
            return Prevalence(prevalence, 0, 0, 0, {}, reason)
        sizes.append((positives, negatives))
        random = np.random.default_rng((seed, i + 1))
        weights = np.zeros((draws, len(unit.truth)))
        for of_class, films in ((unit.truth, positives), (~unit.truth, negatives)):
            there = np.flatnonzero(of_class)
            drawn = random.multinomial(films, np.full(len(there), 1 / len(there)), size=draws)
            weights[:, there] = drawn
        for metric, values in measure(unit.truth, unit.probability, unit.called, weights).items():
            samples[metric].append(values)
    mean_positives, mean_negatives = (round(float(mean)) for mean in np.mean(sizes, axis=0))
    return Prevalence(
        prevalence=prevalence,
        draws=draws * len(units),
        films=mean_positives + mean_negatives,
        positives=mean_positives,
        figures={
            metric: _mean(np.concatenate(values), UNDEFINED[metric])
            for metric, values in samples.items()
        },
    )


def _sizes(truth: Flags, prevalence: float) -> tuple[int, int]:
    """Positive and negative films of a draw."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    wanted = round(negatives * prevalence / (1 - prevalence))
    if wanted <= positives:
        return wanted, negatives
    return positives, round(positives * (1 - prevalence) / prevalence)


def _mean(samples: Floats, undefined: str) -> Interval:
    there = samples[np.isfinite(samples)]
    if not len(there):
        return Interval.undefined(undefined)
    low, high = np.percentile(there, PERCENTILES)
    lost = len(samples) - len(there)
    reason = f"without {lost} of {len(samples)} draws: undefined there"
    return Interval(float(there.mean()), float(low), float(high), reason if lost else None)
