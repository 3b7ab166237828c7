"""The shortcut audit: its evidence, its lines, and what it says in words."""

from __future__ import annotations

from cxrexport.evaluation.audit.baselines import (
    Baseline as Baseline,
    aspect_ratios as aspect_ratios,
    thumbnails as thumbnails,
    trivial_baselines as trivial_baselines,
)
from cxrexport.evaluation.audit.findings import in_percent as in_percent
from cxrexport.evaluation.audit.judged import audit as audit
from cxrexport.evaluation.audit.tables import (
    Audit as Audit,
    BaselineResult as BaselineResult,
    HeatShare as HeatShare,
    Intervention as Intervention,
    SourceInEmbedding as SourceInEmbedding,
    WithinSource as WithinSource,
)
from cxrexport.evaluation.audit.verdict import (
    Kind as Kind,
    Verdict as Verdict,
    conclude as conclude,
)
