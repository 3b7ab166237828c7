"""Results as lines of a figure of estimates."""

from __future__ import annotations

from cxrexport.evaluation.audit import Audit
from cxrexport.evaluation.comparison import Comparison
from cxrexport.evaluation.measures import Interval
from cxrexport.report.figures.estimates import Estimate
from cxrexport.report.names import (
    BASELINE_NAMES,
    BLANKED_NAMES,
    NETWORK_NAMES,
    rows_shown,
    sole_member,
)
from cxrexport.report.paper import paper_values

_WHOLE, _WITHIN = "whole set", "within source"
_ROWS = {**NETWORK_NAMES, **BASELINE_NAMES}


def comparison_lines(comparison: Comparison, metric: str, *, asked: bool) -> list[Estimate]:
    """One line a row of the networks' table; accuracy in per cent, areas as they are.

    Args:
        comparison: of the study.
        metric: accuracy or an area.
        asked: whether the question is the paper's, so that its values stand beside ours.
    """
    scale = 100.0 if metric == "accuracy" else 1.0
    lines = []
    for row in rows_shown(comparison):
        figures = row.pooled or row.over_trials
        counts = figures.counts
        right = counts.true_positive + counts.true_negative
        note = f"{right} of {figures.n}" if metric == "accuracy" else f"n = {figures.n}"
        values = paper_values(row.name, metric) if asked else ()
        paper = {value.edition: value.value for value in values}
        lines.append(
            _line(
                _ROWS.get(row.name, row.name),
                getattr(figures, metric),
                scale=scale,
                note=note,
                strong=row.name == (sole_member(comparison) or "ensemble"),
                paper=paper.get("published", paper.get("preprint")),
            )
        )
    return lines


def audit_lines(audit: Audit) -> list[Estimate]:
    """The judged network and each trivial baseline, on the whole set and within source."""
    skill = audit.skill
    judged = _ROWS.get(audit.judged, audit.judged)
    pairs = "" if skill.roc_auc.value is None else f"n = {skill.positives + skill.negatives}"
    lines = [
        _line(judged, skill.whole.roc_auc, group=_WHOLE,
              strong=True),
        *(_line(_ROWS.get(each.name, each.name), each.roc_auc, group=_WHOLE)
          for each in audit.baselines),
        _line(judged, skill.roc_auc, note=pairs, group=_WITHIN, strong=True),
    ]  # fmt: skip
    lines += [
        _line(_ROWS.get(each.name, each.name), each.within, group=_WITHIN)
        for each in audit.baselines
    ]
    return lines


def blanked_lines(audit: Audit) -> list[Estimate]:
    """The whole film and each intervention, on the whole set and within source."""
    skill = audit.skill
    lines = [_line("whole film", skill.whole.roc_auc, group=_WHOLE, strong=True)]
    lines += [_line(BLANKED_NAMES.get(each.name, each.name), each.roc_auc, group=_WHOLE)
              for each in audit.interventions]  # fmt: skip
    lines.append(_line("whole film", skill.roc_auc, group=_WITHIN, strong=True))
    lines += [_line(BLANKED_NAMES.get(each.name, each.name), each.within, group=_WITHIN)
              for each in audit.interventions]  # fmt: skip
    return lines


def _line(
    label: str,
    found: Interval,
    *,
    scale: float = 1.0,
    note: str = "",
    group: str | None = None,
    strong: bool = False,
    paper: float | None = None,
) -> Estimate:
    def scaled(value: float | None) -> float | None:
        return None if value is None else scale * value

    return Estimate(
        label=label,
        value=scaled(found.value),
        low=scaled(found.low),
        high=scaled(found.high),
        note=note,
        group=group,
        strong=strong,
        paper=scaled(paper),
        reason=found.reason,
    )
