"""Cells of a table of films: each function raises ValueError with what is wrong."""

from __future__ import annotations

import math

__all__ = ["MAX_AGE_YEARS", "as_age", "as_number", "as_sex"]

MAX_AGE_YEARS = 125.0
"""Nobody older is on record; above it stands a typing error or a code."""


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
    """Read an age in years."""
    if value[:-1].isdecimal() and value[-1] in "YMWD":
        raise ValueError(f"{value!r} is a DICOM age string; write the age in years as a number")
    age = as_number(value)
    if not 0 <= age <= MAX_AGE_YEARS:
        raise ValueError(f"{value!r} is no age in years (0 to {MAX_AGE_YEARS:.0f}, or empty)")
    return age


def as_sex(value: str) -> str:
    """Read a sex: F, M, or DICOM's O, or U and UNKNOWN, in capitals."""
    if value.upper() not in ("F", "M", "O", "U", "UNKNOWN"):
        raise ValueError(f"{value!r} is not F or M (empty, O or U where it is neither or unknown)")
    return value.upper()
