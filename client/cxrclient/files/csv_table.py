"""A CSV that somebody made by hand, read strictly: its records, and all that is wrong with it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrclient.files.csv_file import read_cell
from cxrclient.files.regular import read_regular

__all__ = ["CsvFault", "CsvRecord", "CsvTable", "read_table"]

_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class CsvRecord:
    """One record before its cells are understood: the line where it starts, and its cells."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class CsvFault:
    """What is wrong with a table.

    Attributes:
        line: where the record starts, from 1; 0 where it is about the whole file.
        column: empty where it is about no single one.
        what: a sentence.
    """

    line: int
    column: str
    what: str

    def at(self, path: Path) -> str:
        """Say it as `FILE:LINE: COLUMN: what is wrong`."""
        line = f":{self.line}" if self.line else ""
        return f"{path}{line}: {f'{self.column}: ' if self.column else ''}{self.what}"


@dataclass(frozen=True)
class CsvTable:
    """As much of a CSV as could be read.

    Attributes:
        header: names of the columns, without empty ones at the end.
        line: where the header stands.
        records: those that fit the header.
        faults: in the order of the lines.
    """

    header: Sequence[str]
    line: int
    records: Sequence[CsvRecord]
    faults: Sequence[CsvFault]


def read_table(path: Path, required: Sequence[str]) -> CsvTable:
    """Read a CSV: UTF-8 (a byte order mark is fine), separated by commas.

    Cells are stripped of surrounding blanks and read as `CsvWriter` was given them. Empty lines,
    and empty cells beyond the header, are passed over: spreadsheets leave them behind.

    Args:
        path: the file; nothing is raised where it cannot be read.
        required: columns that must be there; without them no record is read.
    """
    text = _text(path)
    if isinstance(text, CsvFault):
        return CsvTable((), 0, (), (text,))
    header: list[str] = []
    header_line, width = 0, 0
    records: list[CsvRecord] = []
    faults: list[CsvFault] = []
    try:
        for line, cells in _rows(text):
            if not header:
                header_line, width = line, len(cells)
                header = _without_empty_end(cells, 0)
                faults = list(_header_faults(line, header, required))
                if faults:
                    break
                continue
            cells = _without_empty_end(cells, len(header))
            if len(cells) == len(header):
                records.append(CsvRecord(line, dict(zip(header, cells, strict=True))))
            elif len(header) < len(cells) <= width:
                what = f"{cells[-1]!r} stands in a column without a name"
                faults.append(CsvFault(line, "(no name)", what))
            else:
                what = (
                    f"the row has {len(cells)} cells, the header {len(header)}; "
                    "a cell that holds a comma needs quotes"
                )
                faults.append(CsvFault(line, "", what))
    except _NoCsv as error:
        faults.append(error.fault)
    if not records and not faults:
        faults.append(CsvFault(0, "", "no rows; the table lists at least one film"))
    return CsvTable(header, header_line, records, faults)


class _NoCsv(Exception):
    def __init__(self, fault: CsvFault) -> None:
        super().__init__(fault)
        self.fault = fault


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Give the line and the cells of each row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            cells = [read_cell(cell.strip()) for cell in row]
            if any(cells):
                yield start, cells
    except csv.Error as error:
        raise _NoCsv(CsvFault(line, "", f"not a CSV row ({error})")) from error


def _without_empty_end(cells: list[str], columns: int) -> list[str]:
    """Drop empty cells at the end, as far as so many columns are left."""
    end = len(cells)
    while end > columns and not cells[end - 1]:
        end -= 1
    return cells[:end]


def _text(path: Path) -> str | CsvFault:
    try:
        raw = read_regular(path, _MOST_BYTES)
    except OSError as error:
        return CsvFault(0, "", f"cannot be read ({error.strerror or error})")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = "not UTF-8; save the table as CSV with the encoding UTF-8"
        return CsvFault(line, "", what)


def _header_faults(line: int, header: Sequence[str], required: Sequence[str]) -> Iterator[CsvFault]:
    hint = "; it is separated by semicolons, not commas" if ";" in header[0] else ""
    for column in required:
        if column not in header:
            yield CsvFault(line, column, f"the column is missing{hint}")
    for column, count in Counter(header).items():
        if count > 1 and column:
            yield CsvFault(line, column, "the column is there twice")
