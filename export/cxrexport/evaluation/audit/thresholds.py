"""Where the audit draws its lines, and why there.

A figure within a source counts before one of the whole set, as soon as it can be judged.
"""

from __future__ import annotations

from cxrexport.evaluation.audit.tables import BLANKED_TOO, Audit, BaselineResult, Intervention
from cxrexport.evaluation.measures import Interval

CHANCE = 0.5
"""AUC of guessing."""
SOURCE_TELLS = 0.60
"""AUC of the source alone from which it could explain a figure. Two sources of equal size reach it
when one has 60 % positive films and the other 40 %; on tb-lungs the source reaches less, and there
the figure within a source is that of the whole set."""
GAP = 0.05
"""Whole AUC above the one within a source from which the whole set's figure misleads: more than the
study's whole interval is wide (0.93 to 0.97)."""
GAP_FILMS = 10
"""Films of each class, in sources that have both, below which that gap is not looked at: resamples
of a handful of films are no interval."""
BORDER_KEPT = 0.5
"""Share of the AUC above chance that a frame of a tenth of the side may keep. The frame holds 1 %
of the lungs (mean over masks of tb-lungs; 95th percentile 6 %), shoulders, markers, collimation and
habitus: half is too much."""
NO_LUNGS_KEPT = 0.75
"""Likewise with the lungs blanked. More is allowed, because their widened outline stays visible,
as do the mediastinum and the diaphragm, where disease shows too."""


def above(interval: Interval, level: float = CHANCE) -> bool:
    """Whether the whole interval lies above a level."""
    return interval.low is not None and interval.low > level


def within_counts(audit: Audit) -> bool:
    """Whether figures within a source can be judged, and so are the ones that count."""
    return audit.skill.can_be_judged


def source_tells(audit: Audit) -> bool:
    """Whether the source alone says so much of the label that it could explain a figure."""
    auc, v = audit.association.roc_auc.value, audit.association.cramers_v
    if auc is not None:
        return auc >= SOURCE_TELLS
    # Two sources of equal size: AUC = 0.5 + V / 2.
    return v is not None and v >= 2 * (SOURCE_TELLS - CHANCE)


def gap_is_real(audit: Audit) -> bool:
    """Whether the whole set's AUC is beyond chance, and by enough, above that within a source."""
    gap = audit.skill.gap
    if min(audit.skill.positives, audit.skill.negatives) < GAP_FILMS:
        return False
    return gap.value is not None and gap.value >= GAP and above(gap, 0.0)


def not_beaten(audit: Audit) -> tuple[BaselineResult, ...]:
    """The trivial baselines that the ensemble is not shown to be better than."""
    return tuple(
        baseline
        for baseline in audit.baselines
        if baseline.reason is None and not above(difference(audit, baseline), 0.0)
    )


def enough_without_lungs(audit: Audit) -> tuple[Intervention, ...]:
    """The interventions that hide the lungs and leave too much of the skill."""
    return _too_much(audit, audit.without_lungs_counted)


def enough_without_map(audit: Audit) -> tuple[Intervention, ...]:
    """Those that blank the map too and leave too much, where the verdict does not count them."""
    return _too_much(audit, BLANKED_TOO) if audit.through_lungs else ()


def _too_much(audit: Audit, names: tuple[str, str]) -> tuple[Intervention, ...]:
    """Of lungs blanked, and only a frame kept, in this order: what leaves too much of the skill."""
    allowed = dict(zip(names, (NO_LUNGS_KEPT, BORDER_KEPT), strict=True))
    found = []
    for one in audit.interventions:
        auc, kept = blanked(audit, one)
        if one.name in allowed and kept is not None and kept >= allowed[one.name] and above(auc):
            found.append(one)
    return tuple(found)


def difference(audit: Audit, baseline: BaselineResult) -> Interval:
    """The ensemble's AUC minus a baseline's: within a source where that counts."""
    return baseline.difference_within if within_counts(audit) else baseline.difference


def blanked(audit: Audit, one: Intervention) -> tuple[Interval, float | None]:
    """AUC of blanked films and the share of skill that is left: within a source where it counts."""
    return (one.within, one.kept_within) if within_counts(audit) else (one.roc_auc, one.kept)
