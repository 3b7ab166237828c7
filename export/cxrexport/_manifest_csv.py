"""The CSV under a manifest: records with their lines, and cells that say what is wrong."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cxrexport.errors import ManifestError

__all__ = [
    "Record",
    "Sex",
    "Split",
    "as_age",
    "as_flag",
    "as_number",
    "as_sex",
    "as_split",
    "raise_all",
    "read_table",
]

Sex = Literal["F", "M"]
Split = Literal["train", "validation", "test"]
MAX_AGE_YEARS = 125.0  # Nobody older is on record; above it stands a typing error or a code.


@dataclass(frozen=True)
class Record:
    """One CSV record before its cells are understood: `line` where it starts, and its cells."""

    line: int
    cells: Mapping[str, str]


def read_table(path: Path, *, required: Sequence[str]) -> list[Record]:
    """Read a CSV into records, cells stripped of surrounding blanks.

    Raises:
        ManifestError: not readable, not UTF-8, not a CSV, a missing column, no rows.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    records: list[Record] = []
    problems: list[str] = []
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue  # spreadsheets leave empty lines behind
            if not header:
                header = _header(path, start, cells, required)
            elif len(cells) != len(header):
                problems.append(
                    f"{path}:{start}: the row has {len(cells)} cells, the header {len(header)}; "
                    "a cell that holds a comma needs quotes"
                )
            else:
                values = (cell.strip() for cell in cells)
                records.append(Record(start, dict(zip(header, values, strict=True))))
    except csv.Error as error:
        problems.append(f"{path}:{line}: not a CSV row ({error})")
    if not records and not problems:
        problems.append(f"{path}: no rows; a manifest lists at least one film")
    raise_all(problems)
    return records


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"{path}:{line}: not UTF-8; save the table as CSV with the encoding UTF-8"
        ) from error


def _header(path: Path, line: int, cells: list[str], required: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    problems = []
    if missing := [column for column in required if column not in header]:
        hint = "; it is separated by semicolons, not commas" if ";" in header[0] else ""
        problems += [f"{path}:{line}: {column}: the column is missing{hint}" for column in missing]
    repeated = [column for column, n in Counter(header).items() if n > 1 and column]
    problems += [f"{path}:{line}: {column}: the column is there twice" for column in repeated]
    raise_all(problems)
    return header


def raise_all(problems: list[str]) -> None:
    if len(problems) == 1:
        raise ManifestError(problems[0])
    if problems:
        raise ManifestError(f"{len(problems)} problems:\n" + "\n".join(problems))


# --- cells: each raises ValueError with what is wrong --------------------------------------------


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
