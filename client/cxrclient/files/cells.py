"""What a cell of a table says: each function raises ValueError with what is wrong."""

from __future__ import annotations

import math
import re
from types import MappingProxyType

MAX_AGE_YEARS = 125.0
"""Nobody older is on record; above it stands a typing error or a code."""

_UNITS_A_YEAR = MappingProxyType({"Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25})
_DICOM_AGE = re.compile(r"\d+[YMWD]")


def as_number(value: str) -> float:
    """Read a finite number."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a number")
    return number


def as_age(value: str) -> float:
    """Read an age in years; one with a unit, such as DICOM's 063Y or 018M, is refused."""
    if _DICOM_AGE.fullmatch(value):
        raise ValueError(f"{value!r} is a DICOM age string; write the age in years as a number")
    age = as_number(value)
    if not 0 <= age <= MAX_AGE_YEARS:
        raise ValueError(f"{value!r} is no age in years (0 to {MAX_AGE_YEARS:.0f}, or empty)")
    return age


def in_years(number: float, unit: str) -> float:
    """Turn an age into years; its unit is one of DICOM's: Y, M, W, D (PS3.5, 6.2, AS).

    Raises:
        ValueError: it is another unit.
    """
    if unit not in _UNITS_A_YEAR:
        raise ValueError(f"{unit!r} is no unit of an age")
    return number / _UNITS_A_YEAR[unit]


def as_sex(value: str) -> str:
    """Read a sex: F or M; O, U or UNKNOWN where it is neither or unknown. In capital letters."""
    if value.upper() not in ("F", "M", "O", "U", "UNKNOWN"):
        raise ValueError(f"{value!r} is not F or M (empty, O or U where it is neither or unknown)")
    return value.upper()
