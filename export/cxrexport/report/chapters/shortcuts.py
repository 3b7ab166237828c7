"""The shortcut audit: the verdict in words, and the tables that it rests on."""

from __future__ import annotations

from cxrexport.evaluation.audit import (
    Audit,
    BaselineResult,
    HeatShare,
    Intervention,
    Kind,
    SourceInEmbedding,
    Verdict,
    WithinSource,
    in_percent,
)
from cxrexport.evaluation.measures import Metric
from cxrexport.report.chapters.blocks import (
    Block,
    Cell,
    Listing,
    SmallLine,
    Statement,
    Table,
    Text,
)
from cxrexport.report.chapters.numbers import (
    METRIC_NAMES,
    NOTHING,
    ROW_NAMES,
    head,
    interval_cell,
    metric_cell,
    number,
    number_cell,
    percent,
)
from cxrexport.report.names import BLANKED_NAMES, network_name

_SHOWN: tuple[Metric, ...] = ("accuracy", "sensitivity", "specificity", "roc_auc")
_KINDS: dict[Kind, str] = {
    "for": "What speaks for skill",
    "against": "What speaks against it",
    "missing": "What is missing",
    "note": "To be kept in mind",
}
_REMARKS = {
    "no_lungs": "and their map: what is left is no lung",
    "only_lungs": "what a reader looks at",
    "only_border": "a tenth of the side: collimation, markers, position; the lung map blanked too",
    "no_lungs_map_kept": "of the lungs only their shape is left",
    "only_border_map_kept": "the shape of the lungs, and a tenth of the side",
}
_GOOD = ("SKILL_SUPPORTED", "SKILL_IN_ONE_SOURCE")


def verdict_blocks(verdict: Verdict) -> tuple[Block, ...]:
    """The sentence, and the findings behind it by what they speak for."""
    blocks: list[Block] = [Statement(verdict.sentence, verdict.code, verdict.code in _GOOD)]
    for kind, title in _KINDS.items():
        items = tuple(f.sentence for f in verdict.findings if f.kind == kind)
        if items:
            blocks.append(Listing(title, items))
    return tuple(blocks)


def audit_blocks(audit: Audit) -> tuple[Block, ...]:
    """Within source, baselines, embedding, blanked films, heatmap."""
    judged = "the ensemble" if audit.judged == "ensemble" else network_name(audit.judged)
    return (
        Text(
            f"Did the networks learn the disease, or the hospital that the film is from? All "
            f"figures are of {judged} on test films; intervals resample patients. "
            f"{_association(audit)}"
        ),
        _within(audit),
        _baselines(audit),
        _embedding(audit.embedding),
        _blanked(audit),
        _heat(audit.heat),
    )


def _association(audit: Audit) -> str:
    found = audit.association
    parts = []
    if found.cramers_v is None:
        parts.append(f"How far the source gives the label away cannot be said: {found.reason}.")
    else:
        parts.append(
            f"Label and source go together with Cramér's V = {number(found.cramers_v, 2)} (0: not "
            "at all, 1: one settles the other)."
        )
    if found.roc_auc.value is not None:
        parts.append(f"The source alone predicts the label with a ROC AUC of "
                     f"{number(found.roc_auc.value)}.")  # fmt: skip
    if found.unstated:
        parts.append(f"{found.unstated} films have no stated source and are in no such figure.")
    return " ".join(parts)


def _within(audit: Audit) -> Table:
    skill = audit.skill
    whole = skill.whole
    same = f"{skill.positives} positive, {skill.negatives} negative, in sources with both labels"
    verdict = () if skill.reason is None else (skill.reason,)
    rows = [
        (
            head("whole set"),
            Cell(str(whole.n), (SmallLine(f"{whole.positives} positive"),)),
            *(metric_cell(metric, whole) for metric in _SHOWN),
        ),
        *(_within_row(each) for each in skill.each),
        (
            head("within source, over all sources", same, *verdict),
            Cell(str(skill.positives + skill.negatives)),
            *(Cell("") for _ in _SHOWN[:-1]),
            interval_cell(skill.roc_auc),
        ),
        (
            head("gap: whole set minus within source"),
            Cell(""),
            *(Cell("") for _ in _SHOWN[:-1]),
            interval_cell(skill.gap, signed=True),
        ),
    ]
    return Table(
        "The whole set beside what no source can explain",
        ("", "films", *(METRIC_NAMES[metric] for metric in _SHOWN)),
        tuple(rows),
        "Within source, over all sources: the chance that of a positive and a negative film of the "
        "same source the positive one gets the higher probability.",
    )


def _within_row(each: WithinSource) -> tuple[Cell, ...]:
    count = each.count
    name = head(f"within {count.source}", *([each.reason] if each.reason else []))
    films = Cell(str(count.films), (SmallLine(f"{count.positives} positive"),))
    if each.figures is None:
        return (name, films, *(Cell(NOTHING) for _ in _SHOWN))
    figures = each.figures
    return (name, films, *(metric_cell(metric, figures) for metric in _SHOWN))


def _baselines(audit: Audit) -> Table:
    skill = audit.skill
    judged = "the ensemble" if audit.judged == "ensemble" else network_name(audit.judged)
    first = (
        head(f"{judged[0].upper()}{judged[1:]}"),
        interval_cell(skill.whole.roc_auc),
        Cell(""),
        interval_cell(skill.roc_auc),
        Cell(""),
    )
    return Table(
        "Trivial baselines on the same splits: ROC AUC",
        ("", "whole set", "worse by", "within source", "worse by"),
        (first, *(_baseline(each) for each in audit.baselines)),
        "A logistic regression of each; none of them can see a disease. Worse by: "
        f"than {judged}; where the interval holds 0, it is not shown. Over folds a baseline is "
        "ranked within each fold, and for the difference so is what it is compared with.",
    )


def _baseline(each: BaselineResult) -> tuple[Cell, ...]:
    name = ROW_NAMES.get(each.name, each.name)
    if each.reason is not None:
        return (head(name, each.reason), *(Cell(NOTHING) for _ in range(4)))
    return (
        head(name),
        interval_cell(each.roc_auc),
        interval_cell(each.difference, signed=True),
        interval_cell(each.within),
        interval_cell(each.difference_within, signed=True),
    )


def _embedding(rows: tuple[SourceInEmbedding, ...]) -> Table:
    return Table(
        "Can the source be read off the embedding?",
        ("among", "ROC AUC of predicting the source", "trials"),
        tuple(
            (
                head("all films" if row.films == "all" else f"{row.films} films"),
                interval_cell(row.roc_auc),
                Cell(str(row.trials)),
            )
            for row in rows
        ),
        "0.5 is chance. Where label and source go together, an embedding of the label separates "
        "the sources, too: only the rows within a label are the source's own.",
    )


def _blanked(audit: Audit) -> Table:
    none = audit.without_lungs
    note = f" In {none} test films no lung was found." if none else ""
    return Table(
        "With a part of the film blanked out: ROC AUC",
        ("", "whole set", "loss", "left above 0.5", "within source", "loss", "left above 0.5"),
        tuple(_intervention(each) for each in audit.interventions),
        "What is blanked takes the mean grey of what is kept. A network that knows the disease "
        "needs the lungs; one that does as well without them has learnt something else. The lung "
        "map is blanked too, where it is not said to be kept; a network that pools over the lungs "
        f"then pools over the whole film, which it did not learn.{note}",
    )


def _intervention(each: Intervention) -> tuple[Cell, ...]:
    name, remark = BLANKED_NAMES.get(each.name, each.name), _REMARKS.get(each.name, "")
    if each.reason is not None:
        return (head(name, each.reason), *(Cell(NOTHING) for _ in range(6)))
    return (
        head(name, remark),
        interval_cell(each.roc_auc),
        interval_cell(each.loss, signed=True),
        _kept(each.kept),
        interval_cell(each.within),
        interval_cell(each.loss_within, signed=True),
        _kept(each.kept_within),
    )


def _kept(share: float | None) -> Cell:
    return Cell(NOTHING if share is None else in_percent(share))


def _heat(rows: tuple[HeatShare, ...]) -> Table:
    body = []
    for row in rows:
        inside = row.inside.value
        share = Cell(
            NOTHING if inside is None else percent(inside),
            interval_cell(row.inside, "accuracy").lines,
        )
        area = Cell(NOTHING if row.lungs is None else percent(row.lungs))
        body.append(
            (
                head(f"{row.label} films"),
                number_cell(row.films, 0),
                number_cell(row.empty, 0),
                share,
                area,
                interval_cell(row.ratio, "number"),
            )
        )
    return Table(
        "Where the heatmap lies",
        ("", "films", "empty heatmap", "heat inside the lungs", "area of the lungs", "ratio"),
        tuple(body),
        "Ratio 1: a heatmap that takes no notice of the lungs.",
    )
