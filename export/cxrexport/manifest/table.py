"""The CSV under a manifest: records with the lines where they start."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrclient.files import read_cell, read_regular
from cxrexport.manifest.problems import Problem, raise_problems

__all__ = ["Record", "read_table", "scan_table"]

_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Record:
    """One CSV record before its cells are understood: `line` where it starts, and its cells."""

    line: int
    cells: Mapping[str, str]


def read_table(path: Path, *, required: Sequence[str]) -> list[Record]:
    """Read a CSV into records, cells stripped of surrounding blanks and read as they were written.

    Raises:
        ManifestError: not readable, not UTF-8, not a CSV, a missing column, no rows.
    """
    records, problems = scan_table(path, required=required)
    raise_problems(problems)
    return records


def scan_table(path: Path, *, required: Sequence[str]) -> tuple[list[Record], list[Problem]]:
    """Read a CSV as far as it can be read; what cannot be is a problem, nothing raises."""
    text, problem = _text(path)
    if problem is not None:
        return [], [problem]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[Record] = []
    problems: list[Problem] = []
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue  # spreadsheets leave empty lines behind
            if not header:
                header = _without_empty_end([read_cell(cell.strip()) for cell in cells])
                if problems := _header_problems(path, start, header, required):
                    return [], problems
            elif len(cells := _within(cells, len(header))) != len(header):
                what = (
                    f"the row has {len(cells)} cells, the header {len(header)}; "
                    "a cell that holds a comma needs quotes"
                )
                problems.append(Problem(path, start, "", what, "TABLE"))
            else:
                values = (read_cell(cell.strip()) for cell in cells)
                records.append(Record(start, dict(zip(header, values, strict=True))))
    except csv.Error as error:
        problems.append(Problem(path, line, "", f"not a CSV row ({error})", "TABLE"))
    if not records and not problems:
        what = "no rows; a manifest lists at least one film"
        problems.append(Problem(path, 0, "", what, "TABLE"))
    return records, problems


def _without_empty_end(cells: list[str]) -> list[str]:
    """Drop empty cells at the end: some programs end every line with a comma."""
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def _within(cells: list[str], columns: int) -> list[str]:
    """Drop empty cells beyond the header's columns."""
    extra = cells[columns:]
    return cells[:columns] if not any(cell.strip() for cell in extra) else cells


def _text(path: Path) -> tuple[str, Problem | None]:
    try:
        raw = read_regular(path, _MOST_BYTES)
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        return "", Problem(path, 0, "", what, "TABLE")
    try:
        return raw.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = "not UTF-8; save the table as CSV with the encoding UTF-8"
        return "", Problem(path, line, "", what, "TABLE")


def _header_problems(
    path: Path, line: int, header: Sequence[str], required: Sequence[str]
) -> list[Problem]:
    hint = "; it is separated by semicolons, not commas" if ";" in header[0] else ""
    found = [
        (column, f"the column is missing{hint}") for column in required if column not in header
    ]
    repeated = (column for column, n in Counter(header).items() if n > 1 and column)
    found += [(column, "the column is there twice") for column in repeated]
    return [Problem(path, line, column, what, "TABLE") for column, what in found]
