"""The audit's pieces of evidence: what counts as one, and its sentence with its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from cxrexport.evaluation.audit.tables import Audit
from cxrexport.evaluation.audit.thresholds import (
    above,
    blanked,
    difference,
    enough_without_lungs,
    gap_is_real,
    not_beaten,
    source_tells,
    within_counts,
)
from cxrexport.evaluation.measures import SAME, Interval

NAMES = {
    "thumbnail": "A thumbnail of 24 by 24 greys",
    "aspect_ratio": "The film's aspect ratio",
    "view": "The view",
    "age": "The patient's age",
}
BLANKED = {
    "no_lungs": "With the lungs blanked out",
    "only_lungs": "With everything but the lungs blanked out",
    "only_border": "With only a frame of the film kept",
    "no_lungs_map_kept": "With the lungs blanked out and their map kept",
    "only_border_map_kept": "With only a frame of the film and the lung map kept",
}

Kind = Literal["for", "against", "missing", "note"]


@dataclass(frozen=True)
class Finding:
    """One piece of evidence.

    Attributes:
        kind: for skill, against it, missing, or a note that decides nothing.
        topic: stable, for programs: `films`, `association`, `within_source`, `baseline`,
            `intervention`, `embedding`, `heatmap` or `other_sources`.
        sentence: with its numbers.
    """

    kind: Kind
    topic: str
    sentence: str


def written(interval: Interval) -> str:
    """A value with its interval, for a sentence."""
    if interval.value is None:
        return f"not known ({interval.reason})"
    if interval.low is None or interval.high is None:
        return _number(interval.value)
    if interval.low == interval.high:  # too few films to say how sure it is, or nothing to err in
        return f"{_number(interval.value)} ({interval.reason or SAME})"
    return f"{_number(interval.value)} ({_number(interval.low)} to {_number(interval.high)})"


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def in_percent(share: float | None) -> str:
    """A share, for a sentence or a table; below zero where an AUC fell below chance."""
    if share is None:
        return "an unknown part"
    text = f"{100 * share:.0f} %"
    return "0 %" if text == "-0 %" else text.replace("-", "\N{MINUS SIGN}")


def collect(audit: Audit) -> tuple[Finding, ...]:
    """Every finding: for, against, missing, notes."""
    order: tuple[Kind, ...] = ("for", "against", "missing", "note")
    found = [
        *_of_association(audit),
        *_within_source(audit),
        *_of_baselines(audit),
        *_of_interventions(audit),
        *_of_embedding(audit),
        *_of_heat(audit),
        *_of_other_sources(audit),
    ]
    return tuple(sorted(found, key=lambda finding: order.index(finding.kind)))  # stable


def _by_reason(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Reason → the names that share it, so that it is said once."""
    found: dict[str, list[str]] = {}
    for name, reason in pairs:
        found.setdefault(reason, []).append(name)
    return found


def _where(audit: Audit) -> str:
    return "within a source" if within_counts(audit) else "on the whole set"


def _of_association(audit: Audit) -> Iterator[Finding]:
    association = audit.association
    if not association.sources:
        yield Finding(
            "missing",
            "association",
            "The manifest names no source, so nobody can see whether a figure is the source's: "
            "fill in the column, with one name where all films come from one hospital.",
        )
        return
    if association.unstated:
        yield Finding(
            "missing", "association", f"The source of {association.unstated} films is not stated."
        )
    if len(association.sources) == 1 and not association.unstated:
        source = association.sources[0]
        yield Finding(
            "note",
            "association",
            f"All films are from {source.source}: within it the source cannot be a shortcut, but "
            "a ward, a machine or a year that goes with the label still can.",
        )
    elif association.reason:
        yield Finding("missing", "association", f"Label and source: {association.reason}.")
    else:
        auc, v = association.roc_auc, f"Cramér's V is {association.cramers_v:.2f}."
        sentence = (
            f"How well the source alone predicts the label is not known ({auc.reason}); {v}"
            if auc.value is None
            else f"The source alone predicts the label with AUC {written(auc)}; {v}"
        )
        yield Finding("against" if source_tells(audit) else "note", "association", sentence)


def _within_source(audit: Audit) -> Iterator[Finding]:
    skill = audit.skill
    negative, positive = audit.labels
    if len(audit.association.sources) > 1 and skill.roc_auc.value is not None:
        pairs = (
            f"Within a source the AUC is {written(skill.roc_auc)}, over {skill.positives} "
            f"{positive} and {skill.negatives} {negative} films of sources that have both; on the "
            f"whole set it is {written(skill.whole.roc_auc)}"
        )
        if not skill.can_be_judged:
            yield Finding("missing", "within_source", f"{pairs}. These are too few to judge by.")
        else:
            kind: Kind = "for" if above(skill.roc_auc) else "against"
            yield Finding(kind, "within_source", f"{pairs}.")
        if gap_is_real(audit):
            lesson = "quote the latter" if skill.can_be_judged else "that much is no skill"
            yield Finding(
                "against",
                "within_source",
                f"The whole set's AUC is {written(skill.gap)} above that within a source: "
                f"{lesson}.",
            )
    alike = _by_reason(
        (one.count.source, one.reason or "") for one in skill.each if one.figures is None
    )
    for reason, names in alike.items():
        yield Finding("missing", "within_source", f"{', '.join(names)}: {reason}.")
    for one in skill.each:
        if one.figures is None:
            continue
        if not one.can_be_judged:
            what = f"AUC {written(one.figures.roc_auc)}, but {one.reason}"
            yield Finding("missing", "within_source", f"{one.count.source}: {what}.")
            continue
        kind = "for" if above(one.figures.roc_auc) else "against"
        yield Finding(
            kind,
            "within_source",
            f"{one.count.source}: AUC {written(one.figures.roc_auc)}, {one.count.positives} "
            f"{positive} and {one.count.negatives} {negative} films of {one.count.patients} "
            "patients.",
        )


def _of_baselines(audit: Audit) -> Iterator[Finding]:
    lost_to = not_beaten(audit)
    who = "the ensemble" if audit.judged == "ensemble" else audit.judged
    absent = _by_reason(
        (NAMES.get(one.name, one.name), one.reason) for one in audit.baselines if one.reason
    )
    for reason, names in absent.items():
        lacking = "; ".join([names[0], *(name[0].lower() + name[1:] for name in names[1:])])
        yield Finding("missing", "baseline", f"No baseline here ({reason}): {lacking}.")
    for baseline in audit.baselines:
        name = NAMES.get(baseline.name, baseline.name)
        if baseline.reason is not None:
            continue
        auc = baseline.within if within_counts(audit) else baseline.roc_auc
        beaten = baseline not in lost_to
        kind: Kind = "against" if not beaten else "for" if within_counts(audit) else "note"
        verb = "is better by" if beaten else "is not shown to be better: the difference is"
        yield Finding(
            kind,
            "baseline",
            f"{name} reaches AUC {written(auc)} {_where(audit)}; {who} {verb} "
            f"{written(difference(audit, baseline))}.",
        )


def _of_interventions(audit: Audit) -> Iterator[Finding]:
    too_much = enough_without_lungs(audit)
    for one in audit.interventions:
        if one.reason is not None:
            yield Finding("missing", "intervention", f"{BLANKED[one.name]}: {one.reason}.")
            continue
        auc, kept = blanked(audit, one)
        sentence = f"{BLANKED[one.name]} the AUC {_where(audit)} is {written(auc)}"
        if kept is not None:
            sentence += f", {in_percent(kept)} of what the whole film has above chance"
        if one.name == "only_lungs":
            # A low figure may be due to the blanking alone: such films are new to the networks.
            kind: Kind = "for" if within_counts(audit) and above(auc) else "note"
        elif one.name not in audit.without_lungs_counted:
            # The map's shape is information about the lungs; without it lung pooling takes in all.
            kind = "note"
        elif one in too_much:
            kind = "against"
            sentence += ": too much for films without their lungs"
        else:
            kind = "for" if within_counts(audit) else "note"
        yield Finding(kind, "intervention", f"{sentence}.")
    if audit.without_lungs:
        yield Finding(
            "note",
            "intervention",
            f"No lung was found in {audit.without_lungs} films: nothing is blanked there.",
        )


def _of_embedding(audit: Audit) -> Iterator[Finding]:
    if len(audit.association.sources) < 2:
        return
    asked = [one for one in audit.embedding if one.roc_auc.value is not None]
    if not asked:
        yield Finding(
            "missing", "embedding", f"Source in the embedding: {audit.embedding[0].roc_auc.reason}."
        )
        return
    told = "; ".join(
        f"{'all films' if one.films == 'all' else 'among ' + one.films + ' films'} "
        f"{written(one.roc_auc)}"
        for one in asked
    )
    within_label = [one for one in asked if one.films != "all"]
    known = any(above(one.roc_auc) for one in within_label)
    sentence = f"The source can be told from the embedding with AUC: {told}."
    if known and not source_tells(audit):
        sentence += " As the source says little of the label, that earns little."
    yield Finding("against" if known and source_tells(audit) else "note", "embedding", sentence)


def _of_heat(audit: Audit) -> Iterator[Finding]:
    for heat in audit.heat:
        if heat.ratio.value is None:
            sentence = f"Heatmaps of {heat.label} films: {heat.ratio.reason}."
            yield Finding("missing", "heatmap", sentence)
            continue
        kind: Kind = "note"
        if heat.label == audit.labels[1]:  # what speaks for the disease must lie where it is
            if above(heat.ratio, 1.0):
                kind = "for"
            elif heat.ratio.high is not None and heat.ratio.high < 1.0:
                kind = "against"
        yield Finding(
            kind,
            "heatmap",
            f"Of the heat on {heat.films} {heat.label} films {in_percent(heat.inside.value)} lies "
            f"inside the lungs, which are {in_percent(heat.lungs)} of the film: "
            f"{written(heat.ratio)} times what an even map has.",
        )


def _of_other_sources(audit: Audit) -> Iterator[Finding]:
    for source in audit.new_sources or ():
        sentence = f"The networks that were tested on {source} learnt from no film of {source}."
        yield Finding("note", "other_sources", sentence)
    if audit.new_sources:
        return
    known = "whether the networks learnt from the sources tested is not known"
    if audit.new_sources is not None:
        known = "the networks learnt from films of every source that they were tested on"
    yield Finding("missing", "other_sources", f"Other hospitals: {known}.")
