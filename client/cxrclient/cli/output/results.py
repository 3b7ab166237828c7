"""Results as lines of JSON, rows of CSV, or a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol, TextIO

from cxrclient.cli.terminal import cell, console, shown
from cxrclient.errors import FilmError
from cxrclient.files import CsvWriter
from cxrclient.runs import result_columns, result_record, result_row
from cxrclient.wire import EnsembleInfo, Prediction

Result = Prediction | FilmError
PIPE_COLUMNS = 200
"""Width of a table that nobody looks at yet: a film's path is not cut at 80 columns in a pipe."""


class ResultWriter(Protocol):
    """Takes results in order; `close` is called once, also after an interruption."""

    def add(self, result: Result, pictures: Mapping[str, str]) -> None:
        """Write one result, or keep it; `pictures` are the paths of its mask and overlay."""

    def close(self) -> None:
        """Write what was kept."""


def result_writer(
    kind: str, stream: TextIO, info: EnsembleInfo, *, embedding: bool = False
) -> ResultWriter:
    """Make the writer.

    Args:
        kind: `table`, `jsonl` or `csv`.
        stream: to write to.
        info: of the ensemble.
        embedding: whether lines of JSON have it.
    """
    if kind == "jsonl":
        return _JsonLines(stream, embedding)
    if kind == "csv":
        return _CsvRows(stream, info)
    return _Table(stream, info)


def _caption(info: EnsembleInfo) -> str:
    """The notice, after the operating point that makes the labels, if one is in force."""
    point, notice = info.operating_point, shown(info.notice)
    if point is None:
        return notice
    remark = f"; {point.reason}" if point.reason else ""
    chosen = (
        f"{info.labels[1]} above {info.threshold:.4g}: operating point {point.name}, chosen on "
        f"validation films{remark}."
    )
    return f"{shown(chosen)}\n{notice}"


class _JsonLines:
    def __init__(self, stream: TextIO, embedding: bool) -> None:
        self._stream = stream
        self._embedding = embedding

    def add(self, result: Result, pictures: Mapping[str, str]) -> None:
        record = result_record(result, pictures, embedding=self._embedding)
        self._stream.write(json.dumps(record) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing was kept."""


class _CsvRows:
    """One column a value; several codes stand in one, with blanks between them."""

    def __init__(self, stream: TextIO, info: EnsembleInfo) -> None:
        self._stream = stream
        self._members = info.members
        self._rows = CsvWriter(stream, list(result_columns(info.members)))

    def add(self, result: Result, pictures: Mapping[str, str]) -> None:
        row = result_row(result_record(result, pictures), self._members)
        cells = {name: " ".join(v) if isinstance(v, list) else v for name, v in row.items()}
        self._rows.add(cells)
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


class _Table:
    def __init__(self, stream: TextIO, info: EnsembleInfo) -> None:
        from rich.table import Table
        from rich.text import Text

        width = None if stream.isatty() else PIPE_COLUMNS
        self._console = console(file=stream, width=width)
        caption = Text(_caption(info), "bold")
        self._table = Table(caption=caption, caption_justify="left", caption_style="bold")
        self._table.add_column("film", overflow="fold")
        for name in (f"p({info.labels[1]})", "votes", "lungs"):
            self._table.add_column(name, justify="right", no_wrap=True)
        self._table.add_column("label", no_wrap=True)
        self._table.add_column("remarks", overflow="fold")

    def add(self, result: Result, pictures: Mapping[str, str]) -> None:
        film = cell(result.path or "")
        if isinstance(result, FilmError):
            remark = cell(f"{result.code}: {result.message}", "red")
            self._table.add_row(film, "", "", "", cell(result.status, "red"), remark)
            return
        self._table.add_row(
            film,
            f"{result.probability:.3f}",
            f"{result.votes}/{len(result.members)}",
            f"{result.lung_fraction:.0%}",
            result.label,
            " ".join(result.flags),
        )

    def close(self) -> None:
        if self._table.row_count:
            self._console.print(self._table)
