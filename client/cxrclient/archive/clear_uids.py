"""UIDs in what is kept of a film: found in any column, and hashed where they must not be told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cxrclient.archive.identity import hashed_uid

_DOTTED = re.compile(r"(?<![\d.])\d+(?:\.\d+){2,}")
# A date (25.2.2020) and a version (1.12.0) have three short parts; of three, a UID has a long one:
# 2.25.<a UUID's digits>. With two it cannot be told from a decimal number. Source: DICOM PS3.5
# section 9 and annex B.2. What is too long for one is no less telling, so there is no upper limit.
_PARTS_OF_NOTHING_ELSE = 4
_DIGITS_OF_NO_DATE = 5
# UID, study_uid, StudyInstanceUID, seriesuid; not pleural_fluid.
_UID_COLUMN = re.compile(
    r"(?i:(?:^|[^a-z]|study|series|sop|instance|image|class|frame|reference)uids?$)|UIDs?$|Uids?$"
)


def without_uids(columns: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """`columns` with a keyed hash in the place of each UID.

    A column that is named for UIDs is hashed whatever is in it; in any other text, what has a
    UID's form is.
    """
    return {name: _without(name, value, key) for name, value in columns.items()}


def has_clear_uid(columns: Mapping[str, Any]) -> bool:
    """Whether `without_uids` would have changed something."""
    return without_uids(columns, b"") != dict(columns)


def _without(name: str, value: Any, key: bytes) -> Any:
    if _UID_COLUMN.search(name) and value is not None and str(value).strip():
        return hashed_uid(str(value).strip(), key)
    if not isinstance(value, str):
        return value
    return _DOTTED.sub(lambda found: _hashed_if_uid(found[0], key), value)


def _hashed_if_uid(dotted: str, key: bytes) -> str:
    parts = dotted.split(".")
    is_uid = len(parts) >= _PARTS_OF_NOTHING_ELSE or any(
        len(part) >= _DIGITS_OF_NO_DATE for part in parts
    )
    return hashed_uid(dotted, key) if is_uid else dotted
