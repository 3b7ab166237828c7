"""A manifest: the CSV of films that everything learns from and is judged on.

One row is one film. Columns `image`, `patient_id` and `label` are required; `mask`, `view`, `sex`,
`age`, `offset_days`, `offset_meaning`, `source`, `finding`, `hard`, `licence_tier` and `split` are
known; whatever else a site adds is kept in `FilmRow.extra`. A wrong cell is cheap before a training
run and dear after it, so reading checks every cell and reports every problem of every row at once.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar, get_args

from cxrexport._manifest_csv import (
    Record,
    Sex,
    Split,
    as_age,
    as_flag,
    as_number,
    as_sex,
    as_split,
    raise_all,
    read_table,
)
from cxrexport.errors import ManifestError

__all__ = [
    "FilmRow",
    "Record",
    "Sex",
    "Split",
    "assign_splits",
    "parse_records",
    "read_manifest",
    "read_table",
    "write_manifest",
]

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
    records = read_table(path, required=REQUIRED)
    base = path.parent if root is None else Path(root)
    return parse_records(records, path, root=base, labels=labels, need_mask=need_mask)


def parse_records(
    records: Iterable[Record],
    path: Path,
    *,
    root: Path,
    labels: Collection[str] | None = None,
    need_mask: bool = False,
) -> tuple[FilmRow, ...]:
    """Turn records into films; `path` is only named in the problems. Raises as `read_manifest`."""
    problems: list[str] = []
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
    raise_all(problems)
    return tuple(rows)


def write_manifest(rows: Iterable[FilmRow], path: str | Path) -> None:
    """Write a manifest that `read_manifest` reads back as the same rows.

    Films inside the manifest's folder are written relative to it, so that the folder can move;
    others with their absolute path.

    Raises:
        ManifestError: the place cannot be written.
    """
    rows, path = list(rows), Path(path).absolute()
    extra = sorted({column for row in rows for column in row.extra})
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*COLUMNS, *extra], restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        known = {column: _cell(getattr(row, column), path.parent) for column in COLUMNS}
        writer.writerow({**row.extra, **known})
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text.getvalue(), encoding="utf-8", newline="")
        partial.replace(path)  # a reader sees the old manifest or the new one, never half of one
    except OSError as error:
        raise ManifestError(f"{path}: cannot be written ({error.strerror or error})") from error


def assign_splits(
    rows: Iterable[FilmRow],
    *,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    stratify_by: Sequence[str] = ("source", "label"),
) -> tuple[FilmRow, ...]:
    """Give every film a split, so that no patient is in two.

    Within each stratum the patients are shuffled by a hash of seed and patient (so the order of the
    rows does not matter), and each held-out split is filled up to its share of the stratum's films,
    to within half a patient. A patient of several strata counts in the one of most of their films.

    Args:
        rows: all films of the collection; filter afterwards, never before.
        fractions: share of films held out; `{"test": 0.15, "validation": 0.10}` by default.
        seed: another seed, another split.
        stratify_by: fields of FilmRow whose combinations are the strata.
    """
    rows = list(rows)
    fractions = {"test": 0.15, "validation": 0.10} if fractions is None else fractions
    if not set(fractions) <= {"test", "validation"}:
        raise ValueError(f"fractions name held-out splits (test, validation), not {set(fractions)}")
    if min(fractions.values(), default=0) < 0 or sum(fractions.values()) >= 1:
        raise ValueError(f"fractions must be at least 0 and leave films to train on: {fractions}")
    by_patient: dict[str, list[FilmRow]] = defaultdict(list)
    for row in rows:
        by_patient[row.patient_id].append(row)
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for patient, films in by_patient.items():
        counts = Counter(tuple(str(getattr(f, name)) for name in stratify_by) for f in films)
        strata[min(counts, key=lambda stratum: (-counts[stratum], stratum))].append(patient)
    chosen: dict[str, Split] = {}
    for patients in strata.values():
        patients.sort(key=lambda patient: sha256(f"{seed}\0{patient}".encode()).digest())
        sizes = {patient: len(by_patient[patient]) for patient in patients}
        for name in get_args(Split):
            room = fractions.get(name, 0.0) * sum(sizes.values())
            for patient in patients:
                if patient not in chosen and sizes[patient] / 2 <= room:
                    chosen[patient] = name
                    room -= sizes[patient]
    return tuple(replace(row, split=chosen.get(row.patient_id, "train")) for row in rows)


# --- one record ------------------------------------------------------------------------------

_Value = TypeVar("_Value")


class _Cells:
    """Understands the cells of one record; what is wrong is appended to `problems`."""

    def __init__(self, record: Record, path: Path, root: Path, problems: list[str]) -> None:
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

    def problem(self, column: str, what: str) -> None:
        self.problems.append(f"{self.path}:{self.record.line}: {column}: {what}")

    def check_label(self, labels: Collection[str]) -> None:
        label = self.record.cells["label"]
        if label not in labels:
            self.problem("label", f"unknown label {label!r}; known are {', '.join(sorted(labels))}")

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
            raise ValueError(f"no such file: {value} (looked in {self.root})")
        return path


# --- all rows --------------------------------------------------------------------------------


def _duplicate_images(rows: Iterable[FilmRow], path: Path) -> list[str]:
    first: dict[Path, int] = {}
    problems = []
    for row in rows:
        if not row.image.is_file():
            continue  # reported already
        seen = first.setdefault(row.image.resolve(), row.row)
        if seen != row.row:
            problems.append(f"{path}:{row.row}: image: the same film as in line {seen}")
    return problems


def _patients_in_two_splits(rows: Iterable[FilmRow], path: Path) -> list[str]:
    first: dict[str, FilmRow] = {}
    problems = []
    for row in rows:
        seen = first.setdefault(row.patient_id, row)
        if row.patient_id and seen.split != row.split:
            problems.append(
                f"{path}:{row.row}: split: patient {row.patient_id} is in {row.split or 'no split'}"
                f" here and in {seen.split or 'no split'} in line {seen.row}"
            )
    return problems


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
