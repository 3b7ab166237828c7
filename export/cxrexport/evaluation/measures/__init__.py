"""What scores are worth: metrics on resamples, their intervals, their differences, over trials."""

from __future__ import annotations

from cxrexport.evaluation.measures.delong import (
    DeLong as DeLong,
    delong_difference as delong_difference,
)
from cxrexport.evaluation.measures.differences import (
    MEAN_OF_MEMBERS as MEAN_OF_MEMBERS,
    Difference as Difference,
    differences as differences,
)
from cxrexport.evaluation.measures.intervals import (
    BOOTSTRAP as BOOTSTRAP,
    PERCENTILES as PERCENTILES,
    SAME as SAME,
    STUDY_BOOTSTRAP as STUDY_BOOTSTRAP,
    Interval as Interval,
    interval as interval,
    over_trials as over_trials,
    resamples as resamples,
)
from cxrexport.evaluation.measures.metrics import (
    Counts as Counts,
    Figures as Figures,
    bootstrapped as bootstrapped,
    figures as figures,
    majority_vote as majority_vote,
    paired_difference as paired_difference,
)
from cxrexport.evaluation.measures.trials import (
    Calls as Calls,
    JudgedRow as JudgedRow,
    calls_by_score as calls_by_score,
    figures_over_trials as figures_over_trials,
    judge as judge,
    judge_row as judge_row,
    judge_study as judge_study,
    pool as pool,
    trial_seed as trial_seed,
)
from cxrexport.evaluation.measures.weighted import (
    METRICS as METRICS,
    UNDEFINED as UNDEFINED,
    Metric as Metric,
    measure as measure,
)
