"""CSV that a spreadsheet shows and does not run, and that our own readers read back as it was.

A cell that begins with =, +, -, @ (also in full width), a tab or a line end is a formula to
spreadsheets, and a file may be named `=cmd|…`. Such text gets an apostrophe before it, as OWASP
recommends ("CSV Injection"; ASVS 1.2.10 adds NUL). Numbers stay: -1.5 is one. Text that has
apostrophes before such a character already gets one more, so that reading takes off what writing
put on.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

_FORMULA = re.compile("'*[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r\n\0]")
_QUOTED = re.compile("^'|[\",;\t\r\n]")
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
    """Writes rows to a stream: cells defused, quoted where they need it, a line feed at the end.

    A trap: Python's writer leaves a carriage return unquoted until 3.13, where a row ends for
    everybody who reads it.

    Args:
        stream: opened with `newline=""`.
        columns: the header, which is written at once.
    """

    def __init__(self, stream: TextIO, columns: Sequence[str]) -> None:
        self._stream = stream
        self._columns = columns
        self._write(columns)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write one row; columns that it lacks stay empty.

        Raises:
            ValueError: it has a column that the header has not.
        """
        if unknown := row.keys() - set(self._columns):
            raise ValueError(f"no such columns: {', '.join(sorted(unknown))}")
        self._write([row.get(column) for column in self._columns])

    def _write(self, cells: Iterable[Any]) -> None:
        self._stream.write(",".join(map(_written, cells)) + "\n")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A whole table as text; cells in the order of the columns."""
    text = io.StringIO(newline="")
    writer = CsvWriter(text, columns)
    for row in rows:
        writer.add(dict(zip(columns, row, strict=True)))
    return text.getvalue()


def _written(value: Any) -> str:
    text = "" if value is None else str(defused(value))
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
