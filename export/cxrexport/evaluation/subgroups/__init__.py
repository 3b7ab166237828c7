"""Whom the ensemble serves: its figures by what the manifest says of films."""

from __future__ import annotations

from cxrexport.evaluation.subgroups.judged import (
    ErrorRow,
    Prevalence,
    Subgroup,
    Subgroups,
    judge_subgroups,
)

__all__ = [
    "ErrorRow",
    "Prevalence",
    "Subgroup",
    "Subgroups",
    "judge_subgroups",
]
