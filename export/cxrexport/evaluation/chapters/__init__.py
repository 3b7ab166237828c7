"""The report's chapters, in the order in which it is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxrexport.evaluation.chapters.blocks import Block, Chapter, Gallery, Note
from cxrexport.evaluation.chapters.calibration import calibration_blocks
from cxrexport.evaluation.chapters.lungs import lung_blocks
from cxrexport.evaluation.chapters.methods import failure_blocks, method_blocks
from cxrexport.evaluation.chapters.networks import network_blocks
from cxrexport.evaluation.chapters.retrieval import retrieval_blocks
from cxrexport.evaluation.chapters.shortcuts import audit_blocks, verdict_blocks
from cxrexport.evaluation.chapters.studied import studied_blocks
from cxrexport.evaluation.chapters.subgroups import subgroup_blocks
from cxrexport.evaluation.figures.plates import Part, Plate

if TYPE_CHECKING:
    from cxrexport.evaluation.report import Study

__all__ = ["chapters_of"]


def chapters_of(study: Study, plates: Sequence[Plate]) -> tuple[Chapter, ...]:
    """Lay the results out; a part that is missing keeps its chapter, which says why."""

    def figures(*parts: Part) -> tuple[Block, ...]:
        chosen = tuple(plate for plate in plates if plate.part in parts)
        return (Gallery(chosen),) if chosen else ()

    def missing(part: str) -> tuple[Block, ...]:
        return (
            Note(f"Not part of this report: {study.absent.get(part, 'it was not asked for')}."),
        )

    return (
        Chapter(
            "verdict",
            "What the evidence supports",
            verdict_blocks(study.verdict) if study.verdict else missing("verdict"),
        ),
        Chapter("films", "What was studied", studied_blocks(study)),
        Chapter(
            "networks",
            "Networks, ensemble and vote",
            (*network_blocks(study), *figures("comparison")),
        ),
        Chapter("scores", "Scores of the ensemble", figures("classification")),
        Chapter(
            "similar",
            "Nearest films",
            (
                *(retrieval_blocks(study.retrieval) if study.retrieval else missing("retrieval")),
                *figures("retrieval"),
            ),
        ),
        Chapter(
            "subgroups",
            "Subgroups",
            (
                *(
                    subgroup_blocks(study.subgroups, study.labels)
                    if study.subgroups
                    else missing("subgroups")
                ),
                *figures("subgroups"),
            ),
        ),
        Chapter(
            "calibration",
            "Calibration and operating points",
            (
                *(
                    calibration_blocks(study.calibration)
                    if study.calibration
                    else missing("calibration")
                ),
                *figures("calibration"),
            ),
        ),
        Chapter(
            "audit",
            "Shortcut audit",
            (*(audit_blocks(study.audit) if study.audit else missing("audit")), *figures("audit")),
        ),
        Chapter(
            "lungs",
            "Lungs",
            (*(lung_blocks(study.lungs) if study.lungs else missing("lungs")), *figures("lungs")),
        ),
        Chapter("failures", "What failed or was not trained", failure_blocks(study)),
        Chapter(
            "methods", "Methods and limitations", (*method_blocks(study), *figures("training"))
        ),
    )
