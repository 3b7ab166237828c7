"""Is one judge better than another? Differences of metrics, paired on the same resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrexport.evaluation.measures.delong import DeLong, delong_difference
from cxrexport.evaluation.measures.intervals import Interval, interval, over_trials
from cxrexport.evaluation.measures.metrics import Bootstrapped
from cxrexport.evaluation.measures.trials import Calls, JudgedRow
from cxrexport.evaluation.measures.weighted import Metric
from cxrexport.evaluation.scores import COMPARISON, Floats

COMPARED: tuple[Metric, ...] = ("roc_auc", "accuracy")
MEAN_OF_MEMBERS = "mean of single networks"
NOT_BOTH = "needs both, and films of both classes"


@dataclass(frozen=True)
class Difference:
    """How much better one row is than another, paired on the same resamples.

    Attributes:
        better: name of the row that is expected to be better.
        than: name of the other; `mean of single networks` averages the members' metrics.
        metric: one of `COMPARED`.
        over_trials: mean over the trials, interval of all resamples of all trials.
        pooled: over all films at once, where the trials are folds.
        delong: DeLong's test of the ROC AUC, where each film was tested once; else None.
    """

    better: str
    than: str
    metric: str
    over_trials: Interval
    pooled: Interval | None
    delong: DeLong | None


def differences(
    rows: Mapping[str, JudgedRow],
    once: Mapping[str, Calls],
    members: Sequence[str],
    baselines: Sequence[str],
) -> tuple[Difference, ...]:
    """Every difference that the study asks for, of the rows that are there.

    Args:
        rows: row → its figures and resamples.
        once: row → what it says of each film, the same films in each, none twice; rows that some
            trial lacks are not there.
        members: the ensemble's networks.
        baselines: names of the trivial baselines' rows.
    """
    singles = [name for name in rows if name in COMPARISON or name in members]
    pairs: list[tuple[str, str, Sequence[str], Sequence[Metric]]] = [
        ("ensemble", MEAN_OF_MEMBERS, members, COMPARED),
        *(("ensemble", name, [name], COMPARED) for name in singles),
        ("ensemble", "vote", ["vote"], ["accuracy"]),
        ("resnet50", "resnet50-plain", ["resnet50-plain"], COMPARED),
        *(("ensemble", name, [name], COMPARED) for name in baselines),
    ]
    return tuple(
        Difference(
            better,
            than,
            metric,
            over_trials=_over_trials(rows, better, others, metric),
            pooled=_pooled(rows, better, others, metric),
            delong=_delong(once, better, others) if metric == "roc_auc" else None,
        )
        for better, than, others, metrics in pairs
        if better in rows and others and all(other in rows for other in others)
        for metric in metrics
    )


def _minus(
    a: Bootstrapped | None, others: Sequence[Bootstrapped | None], metric: Metric
) -> tuple[float, Floats]:
    """Metric of a minus the mean of the others', on the films and on the resamples they share."""
    there = [other for other in others if other is not None]
    if a is None or not there:
        return np.nan, np.empty(0)
    value = a.values[metric] - float(np.mean([b.values[metric] for b in there]))
    samples: Floats = a.samples[metric] - np.mean([b.samples[metric] for b in there], axis=0)
    return value, samples


def _delong(once: Mapping[str, Calls], better: str, others: Sequence[str]) -> DeLong | None:
    if not all(name in once for name in (better, *others)):
        return None
    ours = once[better]
    scores = [once[other].probability for other in others]
    there = [score for score in scores if score is not None]
    if ours.probability is None or len(there) < len(scores):
        return None
    return delong_difference(ours.truth, ours.probability, there, ours.patients)


def _over_trials(
    judged: Mapping[str, JudgedRow], a: str, others: Sequence[str], metric: Metric
) -> Interval:
    each = [
        _minus(trial, [judged[other].trials[i] for other in others], metric)
        for i, trial in enumerate(judged[a].trials)
    ]
    return over_trials([v for v, _ in each], [s for _, s in each], undefined=NOT_BOTH)


def _pooled(
    judged: Mapping[str, JudgedRow], a: str, others: Sequence[str], metric: Metric
) -> Interval | None:
    of_others = [judged[other].pooled for other in others]
    if judged[a].pooled is None or not any(of_others):
        return None
    return interval(*_minus(judged[a].pooled, of_others, metric), undefined=NOT_BOTH)
