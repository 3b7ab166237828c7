"""Cells of a manifest: each function raises ValueError with what is wrong."""

from __future__ import annotations

from typing import Literal, get_args

from cxrclient import files

Sex = Literal["F", "M"]
Split = Literal["train", "validation", "test"]


def as_sex(value: str) -> Sex | None:
    """`F`, `M`, or None for DICOM's O and for unknown."""
    known: dict[str, Sex] = {"F": "F", "M": "M"}
    return known.get(files.as_sex(value))


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
