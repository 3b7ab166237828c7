"""What is wrong with a manifest: one entry a fault, all of them raised together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrexport.errors import ManifestError

__all__ = ["Problem", "raise_problems"]


@dataclass(frozen=True)
class Problem:
    """One fault of a manifest.

    Attributes:
        path: the manifest.
        line: of the CSV where the row starts, from 1; 0 where it is about no single row.
        column: where to look; empty where it is about no single column.
        what: a sentence: what is wrong, and what to do where that is not plain.
        code: stable, for programs: `TABLE` (no such table), `CELL` (a cell that cannot be
            understood), `NO_FILE`, `LABEL` (unknown), `SAME_FILM` (a film in two rows),
            `PATIENT_IN_TWO_SPLITS`, `ONE_CLASS` (a split that lacks a class), `MASK` (does not fit
            its film), `LEARNT` (to be judged by networks that learnt from it), or the code of the
            film's `FilmError`, such as `NOT_READABLE`.
    """

    path: Path
    line: int
    column: str
    what: str
    code: str

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        column = f"{self.column}: " if self.column else ""
        return f"{self.path}{line}: {column}{self.what}"


def raise_problems(problems: Iterable[Problem]) -> None:
    """Do nothing where there are none.

    Raises:
        ManifestError: every problem, in the order of the lines, as `FILE:LINE: COLUMN: what`.
    """
    found = sorted(problems, key=lambda problem: problem.line)
    if len(found) == 1:
        raise ManifestError(str(found[0]))
    if found:
        raise ManifestError(f"{len(found)} problems:\n" + "\n".join(map(str, found)))
