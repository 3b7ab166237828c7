"""What a site knows of its films: a CSV with a manifest's columns, read for the archive.

`image` is required; `patient_id`, `label`, `view`, `sex`, `age`, `offset_days` and the rest of a
manifest's columns are checked where they are there, and whatever else a site adds (treatment,
outcome) goes along. `days` counts from the patient's first film; where the table has `offset_days`
instead (since what `offset_meaning` says), these are the days too. `mask`, `split` and `hard`
belong to training and stay out of the archive. Every fault of every row is reported at once,
before a film is sent.

All columns are stored in clear, except `patient_id`, of which the archive gets a keyed hash. So a
column whose name looks like an identifier (PatientID, mrn, name, birth_date, accession_number,
phone …) is refused; what stands in the cells of the others is the site's to answer for.

A column that holds a number in every row that has a value is stored as numbers, and ranges can be
asked of it; ids and codes stay text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from cxrclient.archive.metadata_columns import numeric_columns, refusal
from cxrclient.archive.milvus.filters import text
from cxrclient.errors import ArchiveInput, MetadataError
from cxrclient.files import (
    Record,
    TableFault,
    as_age,
    as_number,
    as_sex,
    faults_text,
    scan_table,
)

_TRAINING_ONLY = ("mask", "split", "hard")


@dataclass(frozen=True)
class FilmMetadata:
    """One row.

    Attributes:
        line: where the row starts in the CSV, from 1.
        image: as the row has it: a path, or just a file name.
        patient_id: stays here; the archive gets its keyed hash.
        label: ground truth.
        columns: all others that are not empty, numbers as numbers.
    """

    line: int
    image: str
    patient_id: str | None = field(default=None, repr=False)
    label: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)


def read_metadata(path: str | Path) -> tuple[FilmMetadata, ...]:
    """Read and check a metadata CSV (UTF-8, separated by commas).

    Raises:
        MetadataError: every problem, each as `FILE:LINE: COLUMN: what is wrong`.
    """
    path = Path(path)
    records, faults = scan_table(path, required=("image",), refusal=_refusal)
    _raise_all(faults)
    rows = [_row(path, record, faults) for record in records]
    lines: dict[str, int] = {}
    for row in rows:
        first = lines.setdefault(row.image, row.line)
        if row.image and first != row.line:
            what = f"the same film as in line {first}"
            faults.append(TableFault(path, row.line, "image", what))
    _raise_all(faults)
    numeric = numeric_columns(row.columns for row in rows)
    return tuple(replace(row, columns=_with_numbers(row.columns, numeric)) for row in rows)


def match_films(
    rows: Iterable[FilmMetadata], films: Iterable[str | Path], path: str | Path
) -> dict[str, FilmMetadata]:
    """Find each film's row: the one with its very path, else the one whose path its own ends with.

    Args:
        rows: of the CSV.
        films: paths of the films.
        path: of the CSV; its folder is where relative paths start, and it is named in problems.

    Returns:
        Film path (as given) → row. Films without a row are not in it.

    Raises:
        MetadataError: a row that fits several films, or a film that several rows fit.
    """
    path = Path(path)
    exact: dict[Path, FilmMetadata] = {}
    by_name: dict[str, list[FilmMetadata]] = defaultdict(list)
    for row in rows:
        exact[_resolved(path.parent / row.image)] = row
        by_name[PurePath(row.image).name].append(row)
    matched: dict[str, FilmMetadata] = {}
    guessed: dict[int, list[str]] = defaultdict(list)
    faults: list[TableFault] = []
    for film in map(str, films):
        place = _resolved(Path(film))
        if place in exact:
            matched[film] = exact[place]
            continue
        ends = [row for row in by_name[place.name] if _ends_with(place, row.image)]
        longest = max((len(PurePath(row.image).parts) for row in ends), default=0)
        ends = [row for row in ends if len(PurePath(row.image).parts) == longest]
        if len(ends) == 1:
            matched[film] = ends[0]
            guessed[ends[0].line].append(film)
        elif ends:
            lines = " and ".join(str(row.line) for row in ends)
            what = f"lines {lines} both fit {film}"
            faults.append(TableFault(path, ends[0].line, "image", what))
    for line, films_of_row in guessed.items():
        if len(films_of_row) > 1:
            what = (
                f"fits {len(films_of_row)} films ({films_of_row[0]}, {films_of_row[1]}); "
                "write as much of the path as tells them apart"
            )
            faults.append(TableFault(path, line, "image", what))
    _raise_all(faults)
    return matched


def _row(path: Path, record: Record, faults: list[TableFault]) -> FilmMetadata:
    def fault(column: str, what: str) -> None:
        faults.append(TableFault(path, record.line, column, what))

    cells = record.cells
    columns: dict[str, Any] = {}
    for name, value in cells.items():
        if name in ("image", "patient_id", "label"):
            if not value:
                fault(name, "empty")
        elif value and not name:
            fault("(no name)", f"{value!r} stands in a column without a name")
        elif value and name not in _TRAINING_ONLY:
            try:
                text(name, name)
                columns[name] = _CHECKS.get(name, str)(value)
            except (ValueError, ArchiveInput) as error:
                fault(name, getattr(error, "message", str(error)))
    if "offset_days" in columns:
        columns.setdefault("days", columns["offset_days"])
    try:
        label = text("label", cells["label"], 128) if cells.get("label") else None
    except ArchiveInput as error:
        fault("label", error.message.removeprefix("label: "))
        label = None
    return FilmMetadata(
        record.line, cells["image"], cells.get("patient_id") or None, label, columns
    )


def _with_numbers(columns: Mapping[str, Any], numeric: Collection[str]) -> dict[str, Any]:
    return {name: float(v) if name in numeric else v for name, v in columns.items()}


_CHECKS: dict[str, Callable[[str], Any]] = {
    "age": as_age,
    "sex": as_sex,
    "days": as_number,
    "offset_days": as_number,
}


def _refusal(column: str) -> str | None:
    return None if column in _TRAINING_ONLY else refusal(column)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError):
        return path.absolute()


def _ends_with(film: Path, image: str) -> bool:
    parts = PurePath(image).parts
    return film.parts[-len(parts) :] == parts


def _raise_all(faults: list[TableFault]) -> None:
    if faults:
        raise MetadataError(faults_text(faults))
