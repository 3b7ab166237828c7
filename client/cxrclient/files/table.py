"""The strict reader of CSV tables: records with their lines, and every fault with its place.

What `csv_file` defused is read as what it was.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrclient.files.csv_file import read_cell
from cxrclient.files.regular import read_regular

_MOST_BYTES = 1 << 30
_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|\d+|\S*[/\\]\S*")
"""What differs between two faults that are one to who mends them: texts, numbers, paths."""
MOST_ALIKE = 5
"""Equal errors that are told one by one."""


@dataclass(frozen=True)
class Record:
    """One row before its cells are understood: the line where it starts, and its cells."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class TableFault:
    """What is wrong with a table, in one place.

    Attributes:
        path: of the table.
        line: where the row starts, from 1; 0 where it is about no single row.
        column: where to look; empty where it is about no single column.
        what: what is wrong, and what to do where that is not plain.
        code: stable, for programs: `TABLE` where it cannot be read as a table, `CELL` where a cell
            cannot be understood; who reads a table may have more.
    """

    path: Path
    line: int
    column: str
    what: str
    code: str = "CELL"

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        column = f"{self.column}: " if self.column else ""
        return f"{self.path}{line}: {column}{self.what}"


def faults_text(faults: Iterable[TableFault]) -> str:
    """Tell faults in the order of their lines: one sentence, or a count and lines.

    Empty where there are none.
    """
    found = sorted(faults, key=lambda fault: fault.line)
    head = [f"{len(found)} problems:"] if len(found) > 1 else []
    return "\n".join([*head, *fault_lines(found)])


def fault_lines(faults: Iterable[TableFault]) -> list[str]:
    """Tell the first five faults of a kind, one a line, and count the rest.

    Of a kind are those of one column that differ in nothing but values.
    """
    alike: Counter[tuple[str, str]] = Counter()
    lines = []
    for fault in faults:
        kind = (fault.column, _VALUE.sub("", fault.what))
        alike[kind] += 1
        if alike[kind] <= MOST_ALIKE:
            lines.append(str(fault))
    for (column, _), count in alike.items():
        if count > MOST_ALIKE:
            where = f" in the column {column}" if column else ""
            lines.append(f"and {count - MOST_ALIKE} more of this kind{where}")
    return lines


def scan_table(
    path: Path,
    *,
    required: Sequence[str],
    refusal: Callable[[str], str | None] = lambda _: None,
) -> tuple[list[Record], list[TableFault]]:
    """Read a CSV (UTF-8, separated by commas) as far as it can be read; nothing raises.

    Blanks around cells are taken off. Empty lines, and empty cells behind the last column, are
    passed over: spreadsheets leave them.

    Args:
        path: of the table; a regular file.
        required: columns that it must have.
        refusal: gives why a column of this name must not be there; None where it may.

    Returns:
        The rows, and what is wrong; no rows where the file or its header cannot be read.
    """
    text, fault = _text(path)
    if fault is not None:
        return [], [fault]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[Record] = []
    faults: list[TableFault] = []
    header: list[str] = []
    width = 0
    line = 1
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            cells = [read_cell(cell.strip()) for cell in row]
            if not any(cells):
                continue
            if not header:
                header, width = _without_empty_end(cells, 0), len(cells)
                if faults := _header_faults(path, start, header, required, refusal):
                    return [], faults
            elif len(header) < len(cells := _without_empty_end(cells, len(header))) <= width:
                what = f"{cells[-1]!r} stands in a column without a name"
                faults.append(TableFault(path, start, "(no name)", what, "TABLE"))
            elif len(cells) != len(header):
                what = (
                    f"the row has {len(cells)} cells, the header {len(header)}; "
                    "a cell that holds a comma needs quotes"
                )
                faults.append(TableFault(path, start, "", what, "TABLE"))
            else:
                records.append(Record(start, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        faults.append(TableFault(path, line, "", f"not a CSV row ({error})", "TABLE"))
    if not records and not faults:
        what = "no rows; a table lists at least one film"
        faults.append(TableFault(path, 0, "", what, "TABLE"))
    return records, faults


def _without_empty_end(cells: list[str], columns: int) -> list[str]:
    """Drop empty cells at the end, down to a number of columns."""
    while len(cells) > columns and not cells[-1]:
        cells = cells[:-1]
    return cells


def _text(path: Path) -> tuple[str, TableFault | None]:
    try:
        raw = read_regular(path, _MOST_BYTES)
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        return "", TableFault(path, 0, "", what, "TABLE")
    try:
        return raw.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = "not UTF-8; save the table as CSV with the encoding UTF-8"
        return "", TableFault(path, line, "", what, "TABLE")


def _header_faults(
    path: Path,
    line: int,
    header: Sequence[str],
    required: Sequence[str],
    refusal: Callable[[str], str | None],
) -> list[TableFault]:
    hint = "; it is separated by semicolons, not commas" if ";" in header[0] else ""
    found = [(name, f"the column is missing{hint}") for name in required if name not in header]
    found += [(name, why) for name in header if (why := refusal(name))]
    repeated = (name for name, count in Counter(header).items() if count > 1 and name)
    found += [(name, "the column is there twice") for name in repeated]
    return [TableFault(path, line, name, what, "TABLE") for name, what in found]
