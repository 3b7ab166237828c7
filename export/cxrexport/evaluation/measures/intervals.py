"""Bootstrap: resamples of films or of patients, and the intervals that follow from them.

A resample is a weight for each film (how often it was drawn), so that a metric is one sum over a
[B, N] array instead of B calls. Everything that is compared uses the same resamples: they depend on
the truth, the groups and the seed alone, never on the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.scores import Flags, Floats

BOOTSTRAP = 2000
"""Resamples behind every interval. An end of an interval rests on the 2.5 % of them beyond it: 50
here, two or three of 100 resamples."""
STUDY_BOOTSTRAP = 100
"""Source: the study draws 100 bootstrap samples of its test set."""
SAME = "the same on every resample"
"""Why an interval has no width; it does not say that the value is certain."""
PERCENTILES = (2.5, 97.5)
"""Ends of the interval. Source: the study."""


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; None, with the reason, where there is none.

    Attributes:
        value: on the films themselves, not the mean of the resamples.
        low: 2.5th percentile of the resamples; of a proportion the exact end.
        high: 97.5th percentile; likewise.
        reason: why something is None, what the interval leaves out, or why it has no width.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    @classmethod
    def undefined(cls, reason: str) -> Interval:
        """No value, and why."""
        return cls(None, None, None, reason)


def resamples(
    truth: Flags,
    *,
    bootstrap: int = BOOTSTRAP,
    seed: int | Sequence[int] = 0,
    groups: npt.NDArray[np.str_] | None = None,
) -> Floats:
    """Draw films with replacement, N of N; each row says how often each film was drawn.

    A resample that lacks a class is drawn again, because nothing can be measured on it; not where
    the films themselves lack one.

    Args:
        truth: whether each film is positive, [N].
        bootstrap: how many.
        seed: one integer or several (for example the study's and the trial's).
        groups: each film's patient, [N]: whole patients are drawn, because films of one patient
            are no independent observations. None draws films.

    Returns:
        Weights [bootstrap, N], whole numbers.
    """
    if bootstrap < 1:
        raise ValueError(f"bootstrap must be at least 1, not {bootstrap}")
    if truth.ndim != 1 or not len(truth) or (groups is not None and len(groups) != len(truth)):
        raise ValueError("truth must be [N] with N of at least 1, and groups None or [N]")
    unit = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(unit.max()) + 1
    random = np.random.default_rng(seed)
    kept: list[Floats] = []
    while (missing := bootstrap - len(kept)) > 0:
        drawn = random.integers(units, size=(missing, units))
        flat = np.bincount(
            (drawn + units * np.arange(missing)[:, None]).ravel(), minlength=missing * units
        )
        weights: Floats = flat.reshape(missing, units)[:, unit].astype(np.float64)
        whole = np.ones(missing, dtype=bool)
        if truth.any() and not truth.all():
            whole = (weights[:, truth].sum(1) > 0) & (weights[:, ~truth].sum(1) > 0)
        kept.extend(weights[whole])
    return np.stack(kept)


def interval(value: float, samples: Floats, *, undefined: str = "undefined") -> Interval:
    """The percentile interval of a value; NaN stands for undefined.

    Args:
        value: on the films themselves.
        samples: on each resample, [B].
        undefined: the reason that is given where the value is NaN.
    """
    if not np.isfinite(value):
        return Interval.undefined(undefined)
    there = samples[np.isfinite(samples)]
    if not len(there):
        return Interval(float(value), None, None, "undefined on every resample")
    low, high = np.percentile(there, PERCENTILES)
    lost = len(samples) - len(there)
    reason = f"interval without {lost} of {len(samples)} resamples: undefined there"
    same = SAME if low == high else None
    return Interval(float(value), float(low), float(high), reason if lost else same)


def over_trials(
    values: Sequence[float], samples: Sequence[Floats], *, undefined: str = "undefined"
) -> Interval:
    """The mean over trials, with the interval of all resamples of all trials.

    It holds both the chance of the split and that of the films. Source: the study's supplement
    draws the bootstrap samples within each of its ten random splits.

    Args:
        values: of each trial; NaN where undefined, which leaves the trial out.
        samples: of each trial, [B].
        undefined: the reason that is given where no trial has a value.
    """
    there = [i for i, value in enumerate(values) if np.isfinite(value)]
    if not there:
        return Interval.undefined(undefined)
    joined = interval(
        float(np.mean([values[i] for i in there])), np.concatenate([samples[i] for i in there])
    )
    if len(there) == len(values):
        return joined
    reason = f"over {len(there)} of {len(values)} trials: undefined in the others"
    return Interval(joined.value, joined.low, joined.high, reason)
