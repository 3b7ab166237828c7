"""Results as lines of JSON, rows of CSV, or a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TextIO

from cxrclient.cli.output.names import common_folder
from cxrclient.cli.terminal import cell, console, shown
from cxrclient.errors import FilmError
from cxrclient.files import CsvWriter
from cxrclient.runs import result_columns, result_record, result_row
from cxrclient.wire import EnsembleInfo, Prediction

Result = Prediction | FilmError
PIPE_COLUMNS = 200
"""Width of a table that nobody looks at yet: a film's path is not cut at 80 columns in a pipe."""
_SEVERAL = 3


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
    """Kept until all films are known: what they have in common is then said once, above."""

    def __init__(self, stream: TextIO, info: EnsembleInfo) -> None:
        width = None if stream.isatty() else PIPE_COLUMNS
        self._console = console(file=stream, width=width)
        self._info = info
        self._results: list[_Line] = []

    def add(self, result: Result, pictures: Mapping[str, str]) -> None:
        path = result.path or ""
        if isinstance(result, FilmError):
            why = f"{result.code}: {result.message}"
            self._results.append(_Line(path, ("", "", "", result.status), why))
            return
        cells = (
            f"{result.probability:.3f}",
            f"{result.votes}/{len(result.members)}",
            f"{result.lung_fraction:.0%}",
            result.label,
        )
        self._results.append(_Line(path, cells, flags=result.flags))

    def close(self) -> None:
        if not self._results:
            return
        from rich.table import Table
        from rich.text import Text

        caption = Text(_caption(self._info), "bold")
        folder = common_folder([line.path for line in self._results])
        shared = _shared([line.flags for line in self._results if not line.why])
        said = [f"Films in {folder}"] * bool(folder) + [f"all: {' '.join(shared)}"] * bool(shared)
        table = Table(
            title=cell("; ".join(said)) if said else None,
            title_justify="left",
            caption=caption,
            caption_justify="left",
            caption_style="bold",
        )
        table.add_column("film", overflow="fold")
        for name in (f"p({self._info.labels[1]})", "votes", "lungs"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("label", no_wrap=True)
        table.add_column("remarks", overflow="fold")
        for line in self._results:
            style = "red" if line.why else ""
            own = " ".join(flag for flag in line.flags if flag not in shared)
            *numbers, label = line.cells
            film = cell(line.path.removeprefix(folder))
            table.add_row(film, *numbers, cell(label, style), cell(line.why or own, style))
        self._console.print(table)


class _Line(NamedTuple):
    path: str
    cells: tuple[str, ...]
    why: str = ""
    flags: tuple[str, ...] = ()


def _shared(flags: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What the server remarked of every one of several films."""
    if len(flags) < _SEVERAL:
        return ()
    return tuple(flag for flag in flags[0] if all(flag in others for others in flags))
