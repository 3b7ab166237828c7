"""The shortcut audit: its evidence, its lines, and what it says in words."""

from __future__ import annotations

from cxrexport.evaluation.audit.baselines import (
    Baseline,
    aspect_ratios,
    thumbnails,
    trivial_baselines,
)
from cxrexport.evaluation.audit.judged import audit
from cxrexport.evaluation.audit.tables import (
    Audit,
    BaselineResult,
    HeatShare,
    Intervention,
    SourceInEmbedding,
    WithinSource,
)
from cxrexport.evaluation.audit.verdict import Kind, Verdict, conclude

__all__ = [
    "Audit",
    "Baseline",
    "BaselineResult",
    "HeatShare",
    "Intervention",
    "Kind",
    "SourceInEmbedding",
    "Verdict",
    "WithinSource",
    "aspect_ratios",
    "audit",
    "conclude",
    "thumbnails",
    "trivial_baselines",
]
