"""Every metric on every resample at once: sums over a [B, N] array of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from cxrexport.evaluation.scores import Flags, Floats

Metric = Literal["accuracy", "sensitivity", "specificity", "ppv", "npv", "roc_auc", "pr_auc"]
METRICS: tuple[Metric, ...] = (
    "accuracy",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "roc_auc",
    "pr_auc",
)
SHARES: tuple[Metric, ...] = ("accuracy", "sensitivity", "specificity", "ppv", "npv")
"""Of the metrics those that are proportions of films."""
UNDEFINED: Mapping[Metric, str] = {
    "accuracy": "no films",
    "sensitivity": "no positive films",
    "specificity": "no negative films",
    "ppv": "needs films of both classes, and one called positive",
    "npv": "needs films of both classes, and one called negative",
    "roc_auc": "needs films of both classes",
    "pr_auc": "needs films of both classes",
}
"""Why a metric has no value."""
_CELLS = 4_000_000
"""Of resamples times films that are looked at together: some 200 MB at most."""


def measure(
    truth: Flags, probability: Floats | None, called: Flags, weights: Floats
) -> dict[Metric, Floats]:
    """Every metric on every resample.

    Args:
        truth: whether each film is positive, [N].
        probability: score of each film, [N]; None where there is only a call (a vote).
        called: whether each film is called positive, [N].
        weights: how often each film counts, [B, N].

    Returns:
        Metric → [B], NaN where it is undefined.
    """
    together = max(1, _CELLS // len(truth))
    if len(weights) > together:
        parts = [
            measure(truth, probability, called, weights[start : start + together])
            for start in range(0, len(weights), together)
        ]
        return {metric: np.concatenate([part[metric] for part in parts]) for metric in METRICS}
    # Among films of one class every predictive value is 0 or 1, whatever the calls.
    lacking = np.where((weights @ truth > 0) & (weights @ ~truth > 0), 0.0, np.nan)
    none = np.full(len(weights), np.nan)
    roc_auc, pr_auc = (none, none) if probability is None else _areas(truth, probability, weights)
    right = called == truth
    shares: dict[Metric, Floats] = {
        metric: _ratio(weights @ (right & among), weights @ among)
        for metric, among in counted_among(truth, called).items()
    }
    shares["ppv"] += lacking
    shares["npv"] += lacking
    return {**shares, "roc_auc": roc_auc, "pr_auc": pr_auc}


def counted_among(truth: Flags, called: Flags) -> dict[Metric, Flags]:
    """Of each metric that is a proportion of films called right: among which films, [N]."""
    return {
        "accuracy": np.ones_like(truth),
        "sensitivity": truth,
        "specificity": ~truth,
        "ppv": called,
        "npv": ~called,
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        share: Floats = part / whole  # 0 of 0 is NaN: undefined
    return share


def _areas(truth: Flags, score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """ROC AUC and average precision on every resample, [B] each.

    scikit-learn's roc_auc_score and average_precision_score say the same of one resample at a time
    (the tests compare them); sorting once for all resamples is a hundred times quicker.
    """
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))  # films of one score: one step
    positive = np.add.reduceat(weights[:, order] * truth[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~truth[order], starts, axis=1)
    found, alarms = positive.cumsum(axis=1), negative.cumsum(axis=1)
    positives, negatives = found[:, -1], alarms[:, -1]
    below = negatives[:, None] - alarms + negative / 2
    roc_auc = _ratio((positive * below).sum(axis=1), positives * negatives)
    precision = found / np.maximum(found + alarms, 1)
    pr_auc = _ratio((positive * precision).sum(axis=1), positives)
    pr_auc[negatives == 0] = np.nan  # it would be 1 whatever the score
    return roc_auc, pr_auc
