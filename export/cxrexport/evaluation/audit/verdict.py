"""The audit in words: what the evidence supports, what speaks against it, and what is missing.

The rules, the first that fits deciding:

    CANNOT_BE_JUDGED     fewer than 30 films of a class
    NO_SKILL_SHOWN       neither on the whole set nor within a source surely better than chance
    CANNOT_BE_JUDGED     no source is stated
    where sources with both labels have fewer than 30 films of a class:
      SOURCE_NOT_DISEASE   label and source go together, nothing surely above chance is left within
                           a source, and either the whole set's figure is surely above it or a frame
                           without lungs does as well
      SOURCE_OR_DISEASE    label and source go together, and nothing tells which was learnt
      CANNOT_BE_JUDGED     too few films within sources
    where they have at least 30:
      SOURCE_NOT_DISEASE   not surely better than chance within a source, though label and source go
                           together
      NO_SKILL_SHOWN       not surely better than chance within a source
      SHORTCUT_SUSPECTED   a trivial baseline is not surely worse, or too much is left without the
                           lungs
      CANNOT_BE_JUDGED     the thumbnail or the blanked films are missing
      SKILL_IN_ONE_SOURCE  shown in one source: nothing is said of another hospital
      SKILL_SUPPORTED      shown in several, or over several taken together

"Surely" is: with its whole 95 % interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cxrexport.evaluation.audit.findings import (
    BLANKED,
    NAMES,
    Finding,
    Kind,
    collect,
    in_percent,
    written,
)
from cxrexport.evaluation.audit.tables import MIN_FILMS, Audit, Intervention
from cxrexport.evaluation.audit.thresholds import (
    above,
    enough_without_lungs,
    enough_without_map,
    gap_is_real,
    not_beaten,
    source_tells,
)

__all__ = ["Code", "Finding", "Kind", "Verdict", "conclude"]

Code = Literal[
    "SKILL_SUPPORTED",
    "SKILL_IN_ONE_SOURCE",
    "SHORTCUT_SUSPECTED",
    "SOURCE_NOT_DISEASE",
    "SOURCE_OR_DISEASE",
    "NO_SKILL_SHOWN",
    "CANNOT_BE_JUDGED",
]


@dataclass(frozen=True)
class Verdict:
    """What the evidence supports.

    Attributes:
        code: stable, for programs.
        sentence: the same for people, with the figure that may be quoted.
        findings: for, against, missing, notes, in this order.
    """

    code: Code
    sentence: str
    findings: tuple[Finding, ...]


def conclude(audit: Audit) -> Verdict:
    """Weigh the audit by the rules above."""
    code, sentence = _ruling(audit)
    return Verdict(code, sentence, collect(audit))


def _ruling(audit: Audit) -> tuple[Code, str]:
    negative, positive = audit.labels
    if min(audit.positives, audit.negatives) < MIN_FILMS:
        return (
            "CANNOT_BE_JUDGED",
            f"{audit.positives} {positive} and {audit.negatives} {negative} films: with fewer than "
            f"{MIN_FILMS} of each there is no verdict.",
        )
    whole, within = audit.skill.whole.roc_auc, audit.skill.roc_auc
    if not above(whole) and not above(within):
        return (
            "NO_SKILL_SHOWN",
            f"The networks are not shown to be better than chance: AUC {written(whole)}.",
        )
    if not audit.association.sources:
        return (
            "CANNOT_BE_JUDGED",
            f"AUC {written(whole)}, but without the films' sources nobody can see whether the "
            "source or the disease was learnt.",
        )
    return _judged(audit) if audit.skill.can_be_judged else _confounded(audit)


def _confounded(audit: Audit) -> tuple[Code, str]:
    """Too few films to look within sources."""
    skill, association = audit.skill, audit.association
    negative, positive = audit.labels
    whole = written(skill.whole.roc_auc)
    if not source_tells(audit):
        return (
            "CANNOT_BE_JUDGED",
            f"AUC {whole} on the whole set, but sources that have both labels hold only "
            f"{skill.positives} {positive} and {skill.negatives} {negative} films.",
        )
    alone = f"The source alone predicts the label with AUC {written(association.roc_auc)}"
    frame = [one for one in enough_without_lungs(audit) if one.name.startswith("only_border")]
    if not above(skill.roc_auc) and (gap_is_real(audit) or frame):
        why = []
        if gap_is_real(audit):
            why.append(
                f"within a source the networks' AUC is {written(skill.roc_auc)} "
                f"({skill.positives} {positive} and {skill.negatives} {negative} films)"
            )
        if frame:
            why.append(f"a frame around the film is enough for {written(frame[0].roc_auc)}")
        return (
            "SOURCE_NOT_DISEASE",
            f"The networks have learnt the source, not shown the disease. {alone}; "
            f"{' and '.join(why)}. The {whole} of the whole set must not be quoted as skill.",
        )
    return (
        "SOURCE_OR_DISEASE",
        f"The disease cannot be told from the source. {alone}, and too few films of one source "
        f"have both labels ({skill.positives} {positive}, {skill.negatives} {negative}). The "
        f"{whole} of the whole set must not be quoted as skill.",
    )


def _judged(audit: Audit) -> tuple[Code, str]:
    """Enough films of both labels within sources."""
    skill = audit.skill
    within = written(skill.roc_auc)
    if not above(skill.roc_auc):
        whole = written(skill.whole.roc_auc)
        if source_tells(audit):
            return (
                "SOURCE_NOT_DISEASE",
                f"The networks have learnt the source, not the disease: within a source the AUC is "
                f"{within}, on the whole set {whole}, which must not be quoted as skill.",
            )
        return ("NO_SKILL_SHOWN", f"Within a source no skill is shown: AUC {within}.")
    doubts = [
        f"{_small(NAMES.get(one.name, one.name))} is not surely worse" for one in not_beaten(audit)
    ] + [_left(one) for one in enough_without_lungs(audit)]
    if doubts:
        return (
            "SHORTCUT_SUSPECTED",
            f"The networks tell the classes apart (AUC {within} within a source), but not surely "
            f"by the lungs: {'; '.join(doubts)}.",
        )
    if missing := _missing(audit):
        return (
            "CANNOT_BE_JUDGED",
            f"AUC {within} within a source, but a shortcut cannot be excluded without "
            f"{' and '.join(missing)}.",
        )
    return _supported(audit)


def _supported(audit: Audit) -> tuple[Code, str]:
    within = written(audit.skill.roc_auc)
    shown = [
        one.count.source
        for one in audit.skill.each
        if one.can_be_judged and one.figures is not None and above(one.figures.roc_auc)
    ]
    beyond = "beyond every trivial baseline, and not without the lungs"
    if len(shown) == 1:
        return (
            "SKILL_IN_ONE_SOURCE",
            f"The evidence supports skill within one source, {shown[0]}: AUC "
            f"{_auc_of(audit, shown[0])}, {beyond}. It says nothing of any other hospital."
            + _with_map_blanked(audit),
        )
    where = f"in each of {', '.join(shown)}" if shown else "over the sources taken together"
    limit = "It holds for these sources; others were not tested." + _with_map_blanked(audit)
    return (
        "SKILL_SUPPORTED",
        f"The evidence supports skill: AUC {within} within a source, shown {where}, {beyond}. "
        f"{limit}",
    )


def _with_map_blanked(audit: Audit) -> str:
    """What the verdict on networks that pool over the lungs passes over."""
    found = [_left(one) for one in enough_without_map(audit)]
    return f" Mind: without the lung map, {' and '.join(found)}." if found else ""


def _left(one: Intervention) -> str:
    return f"{_small(BLANKED[one.name])} {in_percent(one.kept_within)} of it is left"


def _auc_of(audit: Audit, source: str) -> str:
    (found,) = (one.figures for one in audit.skill.each if one.count.source == source)
    return "not known" if found is None else written(found.roc_auc)


def _missing(audit: Audit) -> list[str]:
    """What a verdict of skill cannot do without."""
    there = {one.name for one in audit.baselines if one.reason is None}
    there |= {one.name for one in audit.interventions if one.reason is None}
    no_lungs, only_border = audit.without_lungs_counted
    needed = {
        "thumbnail": "the thumbnail baseline",
        no_lungs: "films with the lungs blanked out",
        only_border: "films with only a frame kept",
    }
    return [words for name, words in needed.items() if name not in there]


def _small(words: str) -> str:
    return words[0].lower() + words[1:]
