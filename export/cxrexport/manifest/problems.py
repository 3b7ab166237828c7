"""How what is wrong with a manifest is raised: all of it together.

Its codes are stable, for programs: `TABLE` (no such table), `CELL` (a cell that cannot be
understood), `NO_FILE`, `LABEL` (unknown), `SAME_FILM` (a film in two rows),
`PATIENT_IN_TWO_SPLITS`, `ONE_CLASS` (a split that lacks a class), `MASK` (does not fit its film),
`LEARNT` (to be judged by networks that learnt from it), or the code of the film's `FilmError`, such
as `NOT_READABLE`.
"""

from __future__ import annotations

from collections.abc import Iterable

from cxrclient.files import TableFault, faults_text
from cxrexport.errors import ManifestError

__all__ = ["raise_problems"]


def raise_problems(problems: Iterable[TableFault]) -> None:
    """Do nothing where there are none.

    Raises:
        ManifestError: every problem, in the order of the lines, as `FILE:LINE: COLUMN: what`.
    """
    if text := faults_text(problems):
        raise ManifestError(text)
