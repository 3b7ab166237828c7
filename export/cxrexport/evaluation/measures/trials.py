"""One judge in several trials: its calls, and its figures over folds or over random splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.measures.intervals import BOOTSTRAP, SAME, Interval, over_trials
from cxrexport.evaluation.measures.metrics import (
    Bootstrapped,
    Counts,
    Figures,
    bootstrapped,
    why_undefined,
)
from cxrexport.evaluation.measures.weighted import METRICS, SHARES, Metric
from cxrexport.evaluation.scores import Flags, Floats, Scores


@dataclass(frozen=True, eq=False)
class Calls:
    """What a judge (a network, the ensemble, a vote, neighbours) says of N films.

    Attributes:
        truth: whether each film is positive, [N].
        probability: score of each film, [N]; None where there is only a call.
        called: whether each film is called positive, [N].
        patients: each film's patient, [N].
        threshold: of the calls; None where they do not come from one.
    """

    truth: Flags
    probability: Floats | None
    called: Flags
    patients: npt.NDArray[np.str_]
    threshold: float | None

    def take(self, mask: Flags) -> Calls:
        """The calls of some films, mask [N]."""
        probability = None if self.probability is None else self.probability[mask]
        return Calls(
            self.truth[mask], probability, self.called[mask], self.patients[mask], self.threshold
        )


def calls_by_score(scores: Scores, probability: Floats, threshold: float) -> Calls:
    """Call each film positive whose probability [N] is above the threshold."""
    return Calls(scores.truth, probability, probability > threshold, scores.patients, threshold)


def pool(parts: Sequence[Calls]) -> Calls:
    """The calls of several trials, one after the other."""
    scores = [part.probability for part in parts if part.probability is not None]
    thresholds = {part.threshold for part in parts}
    return Calls(
        truth=np.concatenate([part.truth for part in parts]),
        probability=np.concatenate(scores) if len(scores) == len(parts) else None,
        called=np.concatenate([part.called for part in parts]),
        patients=np.concatenate([part.patients for part in parts]),
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
    )


def judge(calls: Calls, *, bootstrap: int, seed: int | Sequence[int]) -> Bootstrapped:
    """The figures of one set of calls, from resampled patients."""
    return bootstrapped(
        calls.truth,
        calls.probability,
        called=calls.called,
        threshold=calls.threshold,
        bootstrap=bootstrap,
        seed=seed,
        groups=calls.patients,
    )


def judge_study(
    parts: Sequence[Calls],
    *,
    folds: bool,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
) -> Figures:
    """The figures of a judge over a study: pooled where the trials are folds, else meant over them.

    Args:
        parts: one for each trial, at least one.
        folds: whether no film is in two of them.
        bootstrap: resamples of the pooled films, or of each trial.
        seed: of the resamples.
    """
    if folds:
        return judge(pool(parts), bootstrap=bootstrap, seed=seed).figures
    return figures_over_trials(
        [judge(part, bootstrap=bootstrap, seed=trial_seed(seed, i)) for i, part in enumerate(parts)]
    )


def figures_over_trials(parts: Sequence[Bootstrapped]) -> Figures:
    """Mean of each figure over the trials, interval of all their resamples; counts are sums.

    One trial's figures are its own. Of more, a proportion's interval is no narrower than the
    trials' exact ones are on average: resamples of 7 films that are all right never differ.
    """
    if len(parts) == 1:
        return parts[0].figures
    each = [part.figures for part in parts]
    scored = all(part.scored for part in parts)
    thresholds = {part.threshold for part in each}

    def total(name: str) -> int:
        return sum(getattr(part.counts, name) for part in each)

    def joined(metric: Metric) -> Interval:
        found = over_trials(
            [part.values[metric] for part in parts],
            [part.samples[metric] for part in parts],
            undefined=why_undefined(metric, scored=scored),
        )
        own: list[Interval] = [getattr(part, metric) for part in each]
        return _widened(found, own) if metric in SHARES else found

    return Figures(
        n=sum(part.n for part in each),
        positives=sum(part.positives for part in each),
        counts=Counts(*(total(name) for name in Counts.__dataclass_fields__)),
        **{metric: joined(metric) for metric in METRICS},
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
        bootstrap=sum(part.bootstrap for part in each),
        resampled=each[0].resampled,
    )


def _widened(found: Interval, each: Sequence[Interval]) -> Interval:
    """An interval over trials, no narrower than theirs are on average."""
    lows = [one.low for one in each if one.low is not None]
    highs = [one.high for one in each if one.high is not None]
    if found.low is None or found.high is None or not lows or not highs:
        return found
    return replace(
        found,
        low=min(found.low, float(np.mean(lows))),
        high=max(found.high, float(np.mean(highs))),
        reason=None if found.reason == SAME else found.reason,
    )


@dataclass(frozen=True, eq=False)
class JudgedRow:
    """One row of a table; None where a trial, or any trial, has not got it."""

    trials: tuple[Bootstrapped | None, ...]
    pooled: Bootstrapped | None

    @property
    def there(self) -> list[Bootstrapped]:
        """The trials that have it."""
        return [trial for trial in self.trials if trial is not None]


def judge_row(
    calls: Sequence[Calls | None], *, folds: bool, bootstrap: int, seed: int
) -> JudgedRow:
    """Judge each trial's calls, and where the trials are folds all of them at once."""
    whole = [part for part in calls if part is not None]
    return JudgedRow(
        trials=tuple(
            judge(part, bootstrap=bootstrap, seed=trial_seed(seed, i)) if part else None
            for i, part in enumerate(calls)
        ),
        pooled=(
            judge(pool(whole), bootstrap=bootstrap, seed=seed)
            if folds and len(whole) == len(calls)
            else None
        ),
    )


def trial_seed(seed: int, trial: int) -> tuple[int, int]:
    """Seed of a trial's resamples; the pooled films have `seed` itself.

    numpy takes (seed, 0) for seed, so that a single trial has the resamples of the pooled films,
    which are the same films: no two chapters give two intervals of one figure.
    """
    return seed, trial
