"""The audit in words: what the evidence supports, what speaks against it, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cxrexport.evaluation.audit import Audit

__all__ = ["Code", "Finding", "Kind", "Verdict", "conclude"]

Kind = Literal["for", "against", "missing", "note"]
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
class Finding:
    """One piece of evidence.

    Attributes:
        kind: for skill, against it, missing, or a note that decides nothing.
        sentence: with its numbers.
    """

    kind: Kind
    sentence: str


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
    """Weigh the audit by fixed rules."""
    raise NotImplementedError
