"""What a site knows of its films: a CSV with a manifest's columns, read for the archive.

`image` is required; `patient_id`, `label`, `view`, `sex`, `age`, `offset_days` and the rest of a
manifest's columns are checked where they are there, and whatever else a site adds (treatment,
outcome) goes along. `days` counts from the patient's first film; where the table has `offset_days`
instead (since what `offset_meaning` says), these are the days too. `mask`, `split` and `hard`
belong to training and stay out of the archive. Every problem of every row is reported at once,
before a film is sent.

All columns are stored in clear, except `patient_id`, of which the archive gets a keyed hash. So a
column whose name looks like an identifier (PatientID, mrn, name, birth_date, accession_number,
phone …) is refused; what stands in the cells of the others is the site's to answer for.

Cells that our own CSV writer defused (`csv_file.py`) are read as what they were.

A column that holds a number in every row that has a value is stored as numbers, and ranges can be
asked of it; ids and codes stay text.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from cxrclient.archive.metadata_columns import numeric_columns, refusal
from cxrclient.archive.milvus.filters import text
from cxrclient.errors import ArchiveInput, MetadataError
from cxrclient.files import read_cell, read_regular

__all__ = ["FilmMetadata", "match_films", "read_metadata"]

_TRAINING_ONLY = ("mask", "split", "hard")
_MAX_AGE_YEARS = 125.0
_MAX_FILE_BYTES = 2**30


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
    problems: list[str] = []
    rows = [_row(path, line, cells, problems) for line, cells in _records(path)]
    lines: dict[str, int] = {}
    for row in rows:
        first = lines.setdefault(row.image, row.line)
        if row.image and first != row.line:
            problems.append(f"{path}:{row.line}: image: the same film as in line {first}")
    _raise_all(problems)
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
    problems: list[str] = []
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
            problems.append(f"{path}:{ends[0].line}: image: lines {lines} both fit {film}")
    for line, films_of_row in guessed.items():
        if len(films_of_row) > 1:
            problems.append(
                f"{path}:{line}: image: fits {len(films_of_row)} films ({films_of_row[0]}, "
                f"{films_of_row[1]}); write as much of the path as tells them apart"
            )
    _raise_all(problems)
    return matched


def _row(path: Path, line: int, cells: Mapping[str, str], problems: list[str]) -> FilmMetadata:
    def problem(column: str, what: str) -> None:
        problems.append(f"{path}:{line}: {column}: {what}")

    columns: dict[str, Any] = {}
    for name, value in cells.items():
        if name in ("image", "patient_id", "label"):
            if not value:
                problem(name, "empty")
        elif value and not name:
            problem("(no name)", f"{value!r} stands in a column without a name")
        elif value and name not in _TRAINING_ONLY:
            try:
                text(name, name)
                columns[name] = _CHECKS.get(name, str)(value)
            except (ValueError, ArchiveInput) as error:
                problem(name, getattr(error, "message", str(error)))
    if "offset_days" in columns:
        columns.setdefault("days", columns["offset_days"])
    try:
        label = text("label", cells["label"], 128) if cells.get("label") else None
    except ArchiveInput as error:
        problem("label", error.message.removeprefix("label: "))
        label = None
    return FilmMetadata(line, cells["image"], cells.get("patient_id") or None, label, columns)


def _with_numbers(columns: Mapping[str, Any], numeric: Collection[str]) -> dict[str, Any]:
    return {name: float(v) if name in numeric else v for name, v in columns.items()}


def _number(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a number")
    return number


def _age(value: str) -> float:
    if value[:-1].isdecimal() and value[-1] in "YMWD":
        raise ValueError(f"{value!r} is a DICOM age string; write the age in years as a number")
    age = _number(value)
    if not 0 <= age <= _MAX_AGE_YEARS:
        raise ValueError(f"{value!r} is no age in years (0 to {_MAX_AGE_YEARS:.0f}, or empty)")
    return age


def _sex(value: str) -> str:
    if value.upper() not in ("F", "M", "O", "U", "UNKNOWN"):
        raise ValueError(f"{value!r} is not F or M (empty, O or U where it is neither or unknown)")
    return value.upper()


_CHECKS: dict[str, Callable[[str], Any]] = {
    "age": _age,
    "sex": _sex,
    "days": _number,
    "offset_days": _number,
}


def _records(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line and cells of each row, blanks around cells taken off."""
    reader = csv.reader(io.StringIO(_decoded(path), newline=""), strict=True)
    records: list[tuple[int, dict[str, str]]] = []
    header: list[str] = []
    problems: list[str] = []
    line = 1
    try:
        for row in reader:
            start, line = line, reader.line_num + 1
            cells = [read_cell(cell.strip()) for cell in row]
            if not any(cells):
                continue
            if not header:
                header = cells
                _check_header(path, start, header)
            elif len(cells) != len(header):
                problems.append(
                    f"{path}:{start}: the row has {len(cells)} cells, the header {len(header)}; "
                    "a cell that holds a comma needs quotes"
                )
            else:
                records.append((start, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        problems.append(f"{path}:{line}: not a CSV row ({error})")
    if not records and not problems:
        problems.append(f"{path}: no rows")
    _raise_all(problems)
    return records


def _decoded(path: Path) -> str:
    try:
        raw = read_regular(path, _MAX_FILE_BYTES)
    except OSError as error:
        raise MetadataError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise MetadataError(
            f"{path}:{line}: not UTF-8; save the table as CSV with the encoding UTF-8"
        ) from error


def _check_header(path: Path, line: int, header: list[str]) -> None:
    problems = []
    if "image" not in header:
        hint = "; it is separated by semicolons, not commas" if ";" in header[0] else ""
        problems.append(f"{path}:{line}: image: the column is missing{hint}")
    refused = [(name, refusal(name)) for name in header if name not in _TRAINING_ONLY]
    problems += [f"{path}:{line}: {name}: {why}" for name, why in refused if why]
    repeated = [name for name, count in Counter(header).items() if count > 1 and name]
    problems += [f"{path}:{line}: {name}: the column is there twice" for name in repeated]
    _raise_all(problems)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError):
        return path.absolute()


def _ends_with(film: Path, image: str) -> bool:
    parts = PurePath(image).parts
    return film.parts[-len(parts) :] == parts


def _raise_all(problems: list[str]) -> None:
    if len(problems) == 1:
        raise MetadataError(problems[0])
    if problems:
        raise MetadataError(f"{len(problems)} problems:\n" + "\n".join(problems))
