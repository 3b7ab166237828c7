"""The report's chapters, in the order in which it is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxrexport.report.chapters.blocks import Block, Chapter, Gallery, Note
from cxrexport.report.chapters.calibration import calibration_blocks
from cxrexport.report.chapters.lungs import lung_blocks
from cxrexport.report.chapters.methods import failure_blocks, method_blocks
from cxrexport.report.chapters.networks import network_blocks
from cxrexport.report.chapters.retrieval import retrieval_blocks
from cxrexport.report.chapters.shortcuts import audit_blocks, verdict_blocks
from cxrexport.report.chapters.studied import studied_blocks
from cxrexport.report.chapters.subgroups import subgroup_blocks
from cxrexport.report.chapters.transfer import transfer_blocks
from cxrexport.report.names import judge_name, sole_member
from cxrexport.report.paper import is_the_papers_question
from cxrexport.report.plates import Part, Plate

if TYPE_CHECKING:
    from cxrexport.evaluation.assess import Assessment

__all__ = ["chapters_of"]


def chapters_of(results: Assessment, plates: Sequence[Plate]) -> tuple[Chapter, ...]:
    """Lay the results out; a part that is missing keeps its chapter, which says why.

    Only a study that left sources out has a chapter on another hospital.
    """

    def figures(*parts: Part) -> tuple[Block, ...]:
        chosen = tuple(plate for plate in plates if plate.part in parts)
        return (Gallery(chosen),) if chosen else ()

    def missing(part: str) -> tuple[Block, ...]:
        return (
            Note(f"Not part of this report: {results.absent.get(part, 'it was not asked for')}."),
        )

    who, asked = judge_name(results.comparison), is_the_papers_question(results.labels)
    return (
        Chapter(
            "verdict",
            "What the evidence supports",
            verdict_blocks(results.verdict) if results.verdict else missing("verdict"),
        ),
        Chapter("films", "What was studied", studied_blocks(results)),
        Chapter(
            "networks",
            "Networks, ensemble and vote"
            if sole_member(results.comparison) is None
            else "Networks",
            (*network_blocks(results), *figures("comparison")),
        ),
        *(
            [Chapter("transfer", "At another hospital", transfer_blocks(results.transfer))]
            if results.transfer
            else []
        ),
        Chapter("scores", f"Scores of {who}", figures("classification")),
        Chapter(
            "similar",
            "Nearest films",
            (
                *(
                    retrieval_blocks(results.retrieval, asked=asked)
                    if results.retrieval
                    else missing("retrieval")
                ),
                *figures("retrieval"),
            ),
        ),
        Chapter(
            "subgroups",
            "Subgroups",
            (
                *(
                    subgroup_blocks(results.subgroups, results.labels, who)
                    if results.subgroups
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
                    calibration_blocks(results.calibration, sole_member(results.comparison))
                    if results.calibration
                    else missing("calibration")
                ),
                *figures("calibration"),
            ),
        ),
        Chapter(
            "audit",
            "Shortcut audit",
            (
                *(audit_blocks(results.audit) if results.audit else missing("audit")),
                *figures("audit"),
            ),
        ),
        Chapter(
            "lungs",
            "Lungs",
            (
                *([Note(results.lungs_note)] if results.lungs_note else []),
                *(lung_blocks(results.lungs) if results.lungs else missing("lungs")),
                *figures("lungs"),
            ),
        ),
        Chapter("failures", "What failed or was not trained", failure_blocks(results)),
        Chapter(
            "methods", "Methods and limitations", (*method_blocks(results), *figures("training"))
        ),
    )
