"""Rows of a manifest: records become films; what cannot be understood becomes a problem."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from cxrclient.files import Record, TableFault, as_age, as_number
from cxrexport.manifest.cells import Sex, Split, as_flag, as_sex, as_split
from cxrexport.manifest.problems import raise_problems

REQUIRED = ("image", "patient_id", "label")


@dataclass(frozen=True, kw_only=True)
class FilmRow:
    """One film of a manifest.

    Attributes:
        image: absolute path of the film (DICOM, PNG or JPEG).
        mask: absolute path of its lung mask, at the film's size; None where there is none.
        patient_id: never empty; films of one patient never cross a split.
        label: class name, as the recipe names it.
        view: for example `AP` or `PA`.
        sex: `F` or `M`; None also for DICOM's `O` and for unknown.
        age: years.
        offset_days: days since `offset_meaning` (for example since admission).
        source: hospital or collection.
        finding: the finer diagnosis behind the label.
        hard: judged hard by the readers; reported apart.
        licence_tier: for example `A-permissive`.
        split: None until `assign_splits`.
        row: line of the CSV where the row starts, from 1; 0 for a row made in memory.
        extra: the columns that this class does not know.
    """

    image: Path
    mask: Path | None = None
    patient_id: str
    label: str
    view: str | None = None
    sex: Sex | None = None
    age: float | None = None
    offset_days: float | None = None
    offset_meaning: str | None = None
    source: str | None = None
    finding: str | None = None
    hard: bool = False
    licence_tier: str | None = None
    split: Split | None = None
    row: int = field(default=0, compare=False)
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)


COLUMNS = tuple(f.name for f in fields(FilmRow) if f.name not in ("row", "extra"))


def parse_records(records: Iterable[Record], path: Path, *, root: Path) -> tuple[FilmRow, ...]:
    """Turn records into films; `path` is only named in the problems. Raises as `read_manifest`."""
    rows, problems = scan_records(records, path, root=root)
    raise_problems(problems)
    return rows


def scan_records(
    records: Iterable[Record],
    path: Path,
    *,
    root: Path,
    labels: Collection[str] | None = None,
    need_mask: bool = False,
) -> tuple[tuple[FilmRow, ...], list[TableFault]]:
    """Turn records into films as far as they are understood; nothing raises.

    A row with a problem is among the films too (its image may be a folder, its texts empty), so
    that what else is wrong with it can be found.
    """
    problems: list[TableFault] = []
    rows: list[FilmRow] = []
    for record in records:
        cells = _Cells(record, path, root.absolute(), problems)
        if labels is not None and record.cells["label"]:
            cells.check_label(labels)
        if need_mask and not record.cells.get("mask"):
            cells.problem("mask", "empty, and this needs a lung mask for every film")
        rows.append(cells.film())
    problems += _duplicate_images(rows, path)
    problems += _patients_in_two_splits(rows, path)
    return tuple(rows), problems


# --- one record ------------------------------------------------------------------------------

_Value = TypeVar("_Value")


class _Cells:
    """Understands the cells of one record; what is wrong is appended to `problems`."""

    def __init__(self, record: Record, path: Path, root: Path, problems: list[TableFault]) -> None:
        self.record, self.path, self.root, self.problems = record, path, root, problems

    def film(self) -> FilmRow:
        cells = self.record.cells
        return FilmRow(
            image=self._of("image", self._file) or self.root,
            mask=self._of("mask", self._file),
            patient_id=self._text("patient_id"),
            label=self._text("label"),
            view=cells.get("view") or None,
            sex=self._of("sex", as_sex),
            age=self._of("age", as_age),
            offset_days=self._of("offset_days", as_number),
            offset_meaning=cells.get("offset_meaning") or None,
            source=cells.get("source") or None,
            finding=cells.get("finding") or None,
            hard=self._of("hard", as_flag) or False,
            licence_tier=cells.get("licence_tier") or None,
            split=self._of("split", as_split),
            row=self.record.line,
            extra={name: value for name, value in cells.items() if name not in COLUMNS},
        )

    def problem(self, column: str, what: str, code: str = "CELL") -> None:
        self.problems.append(TableFault(self.path, self.record.line, column, what, code))

    def check_label(self, labels: Collection[str]) -> None:
        label = self.record.cells["label"]
        if label not in labels:
            known = ", ".join(sorted(labels))
            self.problem("label", f"unknown label {label!r}; known are {known}", "LABEL")

    def _text(self, column: str) -> str:
        value = self.record.cells[column]
        if not value:
            self.problem(column, "empty")
        return value

    def _of(self, column: str, understand: Callable[[str], _Value | None]) -> _Value | None:
        value = self.record.cells.get(column, "")
        if not value:
            if column in REQUIRED:
                self.problem(column, "empty")
            return None
        try:
            return understand(value)
        except FileNotFoundError as error:
            self.problem(column, str(error), "NO_FILE")
        except ValueError as error:
            self.problem(column, str(error))
        return None

    def _file(self, value: str) -> Path:
        path = self.root / value
        try:
            found = path.is_file()
        except (OSError, ValueError):  # a name that no file system takes
            found = False
        if not found:
            raise FileNotFoundError(f"no such file: {value} (looked in {self.root})")
        return path


# --- all rows --------------------------------------------------------------------------------


def _duplicate_images(rows: Iterable[FilmRow], path: Path) -> list[TableFault]:
    first: dict[Path, FilmRow] = {}
    problems = []
    for row in rows:
        if not row.image.is_file():
            continue  # reported already
        seen = first.setdefault(row.image.resolve(), row)
        if seen is not row:
            what = f"the same film as in line {seen.row} (the same file){harm_of_twins(row, seen)}"
            problems.append(TableFault(path, row.row, "image", what, "SAME_FILM"))
    return problems


def _patients_in_two_splits(rows: Iterable[FilmRow], path: Path) -> list[TableFault]:
    first: dict[str, FilmRow] = {}
    problems = []
    for row in rows:
        seen = first.setdefault(row.patient_id, row)
        if row.patient_id and seen.split != row.split:
            what = (
                f"patient {row.patient_id} is in {row.split or 'no split'}"
                f" here and in {seen.split or 'no split'} in line {seen.row}"
            )
            problems.append(TableFault(path, row.row, "split", what, "PATIENT_IN_TWO_SPLITS"))
    return problems


def harm_of_twins(row: FilmRow, twin: FilmRow) -> str:
    """Say what a film in two rows spoils beside counting twice."""
    there = f"in line {twin.row}"
    parts = []
    if row.patient_id != twin.patient_id:
        parts.append(
            f"patient {row.patient_id} here, {twin.patient_id} {there}: no split by patient keeps "
            "them on one side"
        )
    if row.split != twin.split:
        parts.append(
            f"{row.split or 'no split'} here, {twin.split or 'no split'} {there}: it leaks from "
            "one into the other"
        )
    if row.label != twin.label:
        parts.append(f"labelled {row.label} here, {twin.label} {there}")
    return "".join(f"; {part}" for part in parts)
