"""CSV that a spreadsheet shows and does not run, and that our own readers read back as it was.

A cell that begins with =, +, -, @ (also in full width), a tab or a line end is a formula to
spreadsheets, and a file may be named `=cmd|…`. Such text gets an apostrophe before it, as OWASP
recommends ("CSV Injection"; ASVS 1.2.10 adds NUL). Numbers stay: -1.5 is one. Text that has
apostrophes before such a character already gets one more, so that reading takes off what writing
put on.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

__all__ = ["CsvWriter", "csv_text", "defused", "read_cell"]

_FORMULA = re.compile("'*[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r\n\0]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def defused(value: Any) -> Any:
    """A value as it is written: text that would be a formula has an apostrophe before it."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value


def read_cell(cell: str) -> str:
    """What was written: without the apostrophe that `defused` put before it."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class CsvWriter:
    """Writes rows to a stream, cells defused, lines ended by a line feed.

    Args:
        stream: opened with `newline=""`.
        columns: the header, which is written at once.
    """

    def __init__(self, stream: TextIO, columns: Sequence[str]) -> None:
        self._columns = columns
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow([defused(column) for column in columns])

    def add(self, row: Mapping[str, Any]) -> None:
        """Write one row; columns that it lacks stay empty.

        Raises:
            ValueError: it has a column that the header has not.
        """
        if unknown := row.keys() - set(self._columns):
            raise ValueError(f"no such columns: {', '.join(sorted(unknown))}")
        self._rows.writerow([defused(row.get(column, "")) for column in self._columns])


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A whole table as text; cells in the order of the columns."""
    text = io.StringIO(newline="")
    writer = CsvWriter(text, columns)
    for row in rows:
        writer.add(dict(zip(columns, row, strict=True)))
    return text.getvalue()
