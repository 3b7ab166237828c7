"""Cells of a manifest: each function raises ValueError with what is wrong."""

from __future__ import annotations

import math
from typing import Literal, get_args

__all__ = ["Sex", "Split", "as_age", "as_flag", "as_number", "as_sex", "as_split"]

Sex = Literal["F", "M"]
Split = Literal["train", "validation", "test"]
MAX_AGE_YEARS = 125.0  # Nobody older is on record; above it stands a typing error or a code.


def as_number(value: str) -> float:
    """A finite number."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a number")
    return number


def as_age(value: str) -> float:
    """An age in years."""
    if value[:-1].isdecimal() and value[-1] in "YMWD":
        raise ValueError(f"{value!r} is a DICOM age string; write the age in years as a number")
    age = as_number(value)
    if not 0 <= age <= MAX_AGE_YEARS:
        raise ValueError(f"{value!r} is no age in years (0 to {MAX_AGE_YEARS:.0f}, or empty)")
    return age


def as_sex(value: str) -> Sex | None:
    """`F`, `M`, or None for DICOM's O and for unknown."""
    known: dict[str, Sex | None] = {"F": "F", "M": "M", "O": None, "U": None, "UNKNOWN": None}
    if value.upper() not in known:
        raise ValueError(f"{value!r} is not F or M (empty, O or U where it is neither or unknown)")
    return known[value.upper()]


def as_flag(value: str) -> bool:
    """Yes or no."""
    if value.lower() not in ("yes", "true", "1", "no", "false", "0"):
        raise ValueError(f"{value!r} is neither yes nor no")
    return value.lower() in ("yes", "true", "1")


def as_split(value: str) -> Split:
    """The name of a split."""
    for split in get_args(Split):
        if value == split:
            return split  # type: ignore[no-any-return]
    raise ValueError(f"unknown split {value!r}; known are {', '.join(get_args(Split))}")
