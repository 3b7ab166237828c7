"""What is wrong with a manifest: all faults are raised together.

Beside the codes of `TableFault`, a manifest has `NO_FILE`, `LABEL` (unknown), `SAME_FILM` (a film
in two rows), `PATIENT_IN_TWO_SPLITS`, `ONE_CLASS` (a split lacks a class), `MASK` (does not fit
its film), `LEARNT` (to be judged by networks that learnt from it), and the codes of `FilmError`,
such as `NOT_READABLE`.
"""

from __future__ import annotations

from collections.abc import Iterable

from cxrclient.files import TableFault, faults_text
from cxrexport.errors import ManifestError


def raise_problems(problems: Iterable[TableFault]) -> None:
    """Do nothing where there are none.

    Raises:
        ManifestError: every fault, in the order of the lines, as `FILE:LINE: COLUMN: what`.
    """
    if text := faults_text(problems):
        raise ManifestError(text)
