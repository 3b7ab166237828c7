"""Films and filters by which an archive of format 2 is compared with one of format 1."""

from __future__ import annotations

from typing import Any

from cxrclient.archive.milvus.layout import NO_NUMBER

FILMS = 60


def about(number: int) -> dict[str, Any]:
    """Each column known of some films only, and of some not what its field can take."""
    row: dict[str, Any] = {"label": "ab"[number % 2]}
    if number % 3:
        row |= {"age": float(number % 7), "view": ("AP", "PA")[number % 2]}
    if number % 4:
        row |= {"days": float(number % 5 - 2), "sex": "FM"[number % 2], "site": f"S{number % 3}"}
    if number % 5:
        row |= {"probability": number / FILMS, "treatment": "oxygen", "severity": number % 3}
    if number % 6 == 3:
        row |= {"age": "forty", "view": 7, "days": True, "study_uid": f"1.2.{number}"}
    return row


STRUCTURED: list[dict[str, Any]] = [
    {"age": (None, 4)},
    {"age": (2, None)},
    {"age": (NO_NUMBER, 3)},
    {"age": 3},
    {"age": [3, 4, "forty"]},
    {"age": NO_NUMBER},
    {"age": "forty"},
    {"days": True},
    {"days": (-2, 0)},
    {"view": "AP"},
    {"view": ["AP", 7]},
    {"view": ""},
    {"view": (1, 9)},
    {"sex": "M", "age": (None, 5)},
    {"site": ["S1", "S2"]},
    {"study_uid": "1.2.9"},
    {"source": "nobody"},
    {"probability": (None, 0.4)},
    {"severity": (None, 1)},
    {"severity": 2},
]
RAW = [
    "age < 4", "age <= 3", "4 > age", "age > -1e300", "age >= 3", "age == 3", "age != 3",
    "metadata['age'] < 4", "age == 'forty'", "age != 'forty'", "days == true", "days < 0",
    "days > -2 and age < 5", "view == 'PA'", "view != 'PA'", "view < 'B'", "view like 'P%'",
    "view not in ['PA']", "view in ['PA', 'LL']", "view == 7", "sex > 'E' or view >= 'A'",
    "site == 'S1'", "site != 'S1'", "severity < 2", "severity != 2", "treatment != 'oxygen'",
    "age in ['forty']", "age not in ['forty']", "study_uid like '1.2%'", "age + 1 == 4",
]  # fmt: skip
OF_A_SERVER = ["not (age < 4)", "not (view like 'P%')", "exists age", "not exists view"]
"""Milvus Lite does not know these."""
NONE = [{"age": NO_NUMBER}, {"view": ""}, {"view": (1, 9)}, {"source": "nobody"}]
"""Of these, what finds no film."""
