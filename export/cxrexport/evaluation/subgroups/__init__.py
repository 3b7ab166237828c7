"""Whom the ensemble serves: its figures by what the manifest says of films."""

from __future__ import annotations

from cxrexport.evaluation.subgroups.judged import (
    ErrorRow as ErrorRow,
    Prevalence as Prevalence,
    Subgroup as Subgroup,
    Subgroups as Subgroups,
    judge_subgroups as judge_subgroups,
)
from cxrexport.evaluation.subgroups.right_and_wrong import (
    Extremes as Extremes,
    Judged as Judged,
    extremes as extremes,
)
