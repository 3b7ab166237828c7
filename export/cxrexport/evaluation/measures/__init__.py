"""What scores are worth: metrics on resamples, their intervals, their differences, over trials."""

from __future__ import annotations

from cxrexport.evaluation.measures.differences import Difference, differences
from cxrexport.evaluation.measures.intervals import (
    BOOTSTRAP,
    PERCENTILES,
    Interval,
    interval,
    over_trials,
    resamples,
)
from cxrexport.evaluation.measures.metrics import (
    Counts,
    Figures,
    figures,
    majority_vote,
    paired_difference,
)
from cxrexport.evaluation.measures.trials import (
    Calls,
    JudgedRow,
    calls_by_score,
    figures_over_trials,
    judge,
    judge_row,
    judge_study,
    pool,
    trial_seed,
)
from cxrexport.evaluation.measures.weighted import METRICS, UNDEFINED, Metric, measure

__all__ = [
    "BOOTSTRAP",
    "METRICS",
    "PERCENTILES",
    "UNDEFINED",
    "Calls",
    "Counts",
    "Difference",
    "Figures",
    "Interval",
    "JudgedRow",
    "Metric",
    "calls_by_score",
    "differences",
    "figures",
    "figures_over_trials",
    "interval",
    "judge",
    "judge_row",
    "judge_study",
    "majority_vote",
    "measure",
    "over_trials",
    "paired_difference",
    "pool",
    "resamples",
    "trial_seed",
]
