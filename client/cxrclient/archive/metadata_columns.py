"""Which columns of a site's table may enter the archive, and which of them are numbers.

Names are all there is to go by: nobody looks whether a cell of `remarks` holds a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# Of a name's words joined in small letters: PatientsName, patient_name. What is short is looked for
# as a word alone, for "ssn" is in "illness note" too.
_PATIENT_ID = re.compile(
    r"(patient|subject|person)s?(id|identifier|number)|^(patients?|pat)(id|no|nr|num)?$|^pid$"
)
_PATIENT_ID_WORDS = frozenset({"mrn"})
_IDENTIFIER = re.compile(
    r"^names?$"
    r"|(patient|person|subject|first|last|given|middle|family|full|maiden|mother|father|physician"
    r"|doctor)s?name"
    r"|surname|forename|accession|birth|address|street|postcode|postalcode|zipcode|phone|email"
    r"|socialsecurity|socialinsurance|passport|insurance(id|no|number)"
)
_IDENTIFIER_WORDS = frozenset({"dob", "fax", "mail", "ssn", "zip"})
_ARCHIVE_OWN = frozenset({"id", "embedding", "label_source", "probability", "patient_key"})

_TEXT = frozenset(
    {
        "site",
        "view",
        "sex",
        "source",
        "finding",
        "offset_meaning",
        "licence_tier",
        "study_uid",
        "series_uid",
    }
)
OWN_COLUMNS = _TEXT | {"age", "days"}
"""Columns that this client gives meaning, whether or not a film has them."""
_NO_QUANTITY = frozenset({"id", "uid", "code", "number", "no", "nr", "key", "version"})
# No leading zeros (007 is a label) and no more digits than a double keeps.
_NUMBER = re.compile(r"[+-]?(?!\d{16})(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d{1,2})?")


def refusal(column: str) -> str | None:
    """Why a column must not enter the archive, and what to do; None where it may.

    `patient_id` itself may: only its keyed hash is stored.
    """
    if column == "patient_id":
        return None
    if column in _ARCHIVE_OWN:
        return "the archive has its own field of this name; drop or rename the column"
    words = _words(column)
    joined = "".join(words)
    if _PATIENT_ID.search(joined) or not _PATIENT_ID_WORDS.isdisjoint(words):
        return (
            "looks like a patient's number, which would be stored in clear; only the column "
            "patient_id is stored as a keyed hash: rename it to patient_id, or drop it"
        )
    if _IDENTIFIER.search(joined) or not _IDENTIFIER_WORDS.isdisjoint(words):
        return (
            "looks like it identifies a person, and would be stored in clear; drop the column, or "
            "rename it if it does not"
        )
    return None


def numeric_columns(rows: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Columns that hold a number in every row that has them.

    Ids, codes and the manifest's own words stay text, and so does what a number would change:
    007, or twenty digits.
    """
    numeric: dict[str, bool] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str):
                is_number = _NUMBER.fullmatch(value) is not None
                numeric[name] = numeric.get(name, True) and is_number
    return frozenset(
        name
        for name, is_number in numeric.items()
        if is_number and name not in _TEXT and not _NO_QUANTITY & set(_words(name))
    )


def _words(column: str) -> list[str]:
    """The words of a name in small letters: PatientID, patient-id → patient, id."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", column)
    return [word.lower() for word in words if word.lower() != "s"]  # Patient's Name
