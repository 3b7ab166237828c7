"""What a published collection gives: films of a manifest, and what was left out with its reason."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cxrclient.files import MAX_AGE_YEARS, Record
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, assign_splits, parse_records

NOTE = "note"
"""Column of a manifest that says what was changed or left empty in a row."""


@dataclass(frozen=True)
class LeftOut:
    """A row or film of the collection that is not in the manifest.

    Attributes:
        where: table and line, or the file's name.
        image: name of the film.
        reason: short and the same for all of its kind, so that it can be counted.
        what: the particulars, such as the view.
    """

    where: str
    image: str
    reason: str
    what: str


@dataclass(frozen=True)
class Collected:
    """The films of a collection with their splits, and what is not among them."""

    rows: tuple[FilmRow, ...]
    left_out: tuple[LeftOut, ...] = ()

    def reasons(self) -> dict[str, int]:
        """How many were left out for each reason."""
        return dict(sorted(Counter(one.reason for one in self.left_out).items()))

    @property
    def notes(self) -> int:
        """How many films have a note."""
        return sum(NOTE in row.extra and bool(row.extra[NOTE]) for row in self.rows)


@dataclass
class Rows:
    """Gathers the rows of one table of a collection.

    Attributes:
        table: the table.
        records: rows that become films.
        left_out: the others.
    """

    table: Path
    records: list[Record] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def keep(self, line: int, cells: Mapping[str, str], notes: Iterable[str] = ()) -> None:
        """Take a row with the cells of a manifest."""
        self.records.append(
            Record(line, {**cells, NOTE: "; ".join(note for note in notes if note)})
        )

    def leave(self, line: int, image: str, reason: str, what: str = "") -> None:
        """Leave a row out."""
        self.left_out.append(LeftOut(f"{self.table.name}:{line}", image, reason, what))

    def collected(self, seed: int) -> Collected:
        """Check the rows as a manifest's, and draw their splits.

        Raises:
            ManifestError: every problem; or no row is left.
        """
        if not self.records:
            counts = Counter(one.reason for one in self.left_out)
            why = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
            raise ManifestError(f"{self.table}: no film is left of {len(self.left_out)} ({why})")
        rows = parse_records(self.records, self.table, root=self.table.parent)
        return Collected(assign_splits(rows, seed=seed), tuple(self.left_out))


def files_by_name(root: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """Give every file below a folder by its name, in the order of the paths.

    Collections are unpacked in more ways than one (images_001/images/, images/, a folder for each
    archive), and their file names are unique; so films are looked for by name.

    Raises:
        ManifestError: no such folder.
    """
    if not root.is_dir():
        raise ManifestError(f"{root}: no such folder; name the one that the collection is in")
    found: dict[str, list[Path]] = {}
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(suffixes):
                found.setdefault(name, []).append(Path(folder, name))
    return found


def label_of(finding: str) -> str:
    """Make a label of a finding's name: covid of `COVID-19`, pleural-thickening of its name."""
    words = re.findall(r"[a-z0-9]+", finding.lower())
    return "covid" if words == ["covid", "19"] else "-".join(words)


_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
_UNITS_A_YEAR = {"y": 1.0, "m": 12.0, "w": 52.1775, "d": 365.2425}


def age_in_years(text: str) -> tuple[str, str]:
    """Read an age as collections write it.

    Args:
        text: `58`, `58.0`, `058Y`, `018M` (months), `45yrs`, `16month`, `64days`, or nothing.

    Returns:
        The manifest's cell (empty where it is no age), and a note where something was left out.
    """
    text = text.strip()
    if not text:
        return "", ""
    match = _AGE.fullmatch(text)
    unit = match[2][:1].lower() if match else ""
    if match is None or unit not in {"", *_UNITS_A_YEAR}:
        return "", f"age {text!r} left empty: not understood"
    age = float(match[1]) / _UNITS_A_YEAR[unit or "y"]
    if age > MAX_AGE_YEARS or (unit in ("", "y") and age > _OLDEST_YEARS):
        return "", f"age {text!r} left empty: nobody is that old"
    return f"{age:.2f}".rstrip("0").rstrip("."), ""


_OLDEST_YEARS = 120.0
"""ChestX-ray14 has ages such as 148 and 412 (PA and AP films of 2017's release)."""


def sex_cell(text: str) -> tuple[str, str]:
    """Give F, M or nothing, and a note where something was left out; `w` is German for F."""
    known = {"f": "F", "female": "F", "femal": "F", "w": "F", "m": "M", "male": "M"}
    word = text.strip().lower()
    if word in known:
        return known[word], ""
    return "", f"sex {text.strip()!r} left empty" if word not in ("", "nan", "unknown") else ""


def offset_cell(text: str, sign: int = 1) -> tuple[str, str]:
    """Give days as a cell, and a note where something was left out.

    Args:
        text: a number, or nothing.
        sign: -1 turns days until an event into days since it.
    """
    text = text.strip()
    if not text:
        return "", ""
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        return "", f"offset {text!r} left empty: not a number"
    return f"{sign * float(text) + 0.0:g}", ""
