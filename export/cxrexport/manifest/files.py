"""Manifests as files: read with every check, written so that they read back the same."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from cxrclient.files import CsvWriter, Record, TableFault, scan_table, write_whole
from cxrexport.errors import ManifestError
from cxrexport.manifest.problems import raise_problems
from cxrexport.manifest.rows import COLUMNS, REQUIRED, FilmRow, scan_records


def read_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    labels: Collection[str] | None = None,
    need_mask: bool = False,
) -> tuple[FilmRow, ...]:
    """Read and check a manifest.

    Args:
        path: the CSV, UTF-8 (a byte order mark is fine), separated by commas.
        root: folder that relative paths start from; the manifest's own folder by default.
        labels: the labels that may occur; None allows any.
        need_mask: whether every film must have a lung mask.

    Raises:
        ManifestError: every problem, each as `FILE:LINE: COLUMN: what is wrong`.
    """
    path = Path(path)
    rows, problems = scan_manifest(path, root=root, labels=labels, need_mask=need_mask)
    raise_problems(problems)
    return rows


def scan_manifest(
    path: Path,
    *,
    root: str | Path | None = None,
    labels: Collection[str] | None = None,
    need_mask: bool = False,
) -> tuple[tuple[FilmRow, ...], list[TableFault]]:
    """Read a manifest as far as it can be understood: its films, and every problem of its cells.

    Nothing raises. A row with a problem is among the films too. Arguments as for `read_manifest`.
    """
    records, problems = scan_table(path, required=REQUIRED)
    base = path.parent if root is None else Path(root)
    rows, more = scan_records(records, path, root=base, labels=labels, need_mask=need_mask)
    return rows, [*problems, *more]


def read_table(path: Path, *, required: Sequence[str]) -> list[Record]:
    """Read any CSV into records.

    Raises:
        ManifestError: not readable, not UTF-8, not a CSV, a missing column, no rows.
    """
    records, problems = scan_table(path, required=required)
    raise_problems(problems)
    return records


def write_manifest(rows: Iterable[FilmRow], path: str | Path) -> None:
    """Write a manifest that `read_manifest` reads back as the same rows, for its owner alone.

    Films inside the manifest's folder are written relative to it, so that the folder can move;
    others with their absolute path.

    Raises:
        ManifestError: the place cannot be written.
    """
    rows, path = list(rows), Path(path).absolute()
    extra = sorted({column for row in rows for column in row.extra})
    text = io.StringIO(newline="")
    writer = CsvWriter(text, [*COLUMNS, *extra])
    for row in rows:
        known = {column: _cell(getattr(row, column), path.parent) for column in COLUMNS}
        writer.add({**row.extra, **known})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.getvalue(), secret=True)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be written ({error.strerror or error})") from error


def _cell(value: object, folder: Path) -> str:
    """Write one value so that reading it gives the same value."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else ""
        case float() | int():
            return repr(float(value)).removesuffix(".0")
        case Path():
            inside = value.is_relative_to(folder)
            return (value.relative_to(folder) if inside else value).as_posix()
        case _:
            return str(value)
