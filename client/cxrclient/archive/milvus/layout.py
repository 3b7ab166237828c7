"""Which columns of a film have a field of their own, and what stands where one is unknown.

Format 1 kept all that it knew of a film in one JSON field. In format 2 what is often asked for has
a field of its own, with an index where the server has them (docs/adr/0025). A column that is not
one of these, and a value that its field cannot take, still lie in the JSON field.

Neither Milvus Lite nor every server has fields that may be empty, so an unknown value is written
as something that nobody can ask for. It stays in here: `Layout.split` puts it in, `Layout.known`
takes it out, and a condition asks beside its own question for what is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

FIELDS = ("label", "label_source", "probability", "patient_key")
"""In either format, fields that are no columns of the metadata."""
CHECKSUM = "checksum"
"""A field of format 2 by which a flipped bit is found; nobody can ask for it."""
RESERVED = "severity"
"""A field of format 2 that nothing reads yet. A site's own column of that name is as any other."""

COLUMN_TEXT_MAX = 1024
"""Bytes of text in a field; a filter cannot have more either."""
NO_NUMBER = -1e15
"""Unknown age and days. Below each number that is taken: no film is so old, and a whole number of
this size stays itself in a double."""
NO_PROBABILITY = -1.0
NO_TEXT = ""


@dataclass(frozen=True)
class Layout:
    """How films lie in a collection.

    Attributes:
        format: as the collection's description says.
        texts: columns with a field for text.
        numbers: columns with a field for numbers.
        reserved: fields for numbers that stay unknown.
        has_checksums: whether each film carries one.
    """

    format: int
    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    has_checksums: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the metadata with a field of their own."""
        return (*self.texts, *self.numbers)

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields but id and embedding."""
        return (*FIELDS, *self.columns, *self.reserved, "metadata")

    def holds(self, name: str, value: object) -> bool:
        """Whether the field of a column can take a value; else it belongs into the JSON field."""
        if name in self.texts:
            return isinstance(value, str) and 0 < len(value.encode()) <= COLUMN_TEXT_MAX
        return name in self.numbers and _is_number(value) and value > NO_NUMBER

    def split(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of a film as fields, `metadata` among them."""
        held = {name: value for name, value in columns.items() if self.holds(name, value)}
        return {
            **{name: held.get(name, NO_TEXT) for name in self.texts},
            **{name: float(held.get(name, NO_NUMBER)) for name in self.numbers},
            **dict.fromkeys(self.reserved, NO_NUMBER),
            **({CHECKSUM: NO_TEXT} if self.has_checksums else {}),
            "metadata": {name: value for name, value in columns.items() if name not in held},
        }

    def known(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of a film from its fields: what `split` was given."""
        held = {name: row[name] for name in self.columns}
        held = {n: value for n, value in held.items() if value not in (NO_TEXT, NO_NUMBER)}
        return held | dict(row["metadata"] or {})

    def lowest(self, name: str) -> float:
        """What stands in a field of numbers where nothing is known; below all that is."""
        return NO_PROBABILITY if name == "probability" else NO_NUMBER

    def is_known(self, name: str, *, negated: bool = False) -> str:
        """The condition that a field knows something, or that it does not."""
        if self.is_number(name):
            return f"{name} {'<=' if negated else '>'} {self.lowest(name)!r}"
        return f'{name} {"==" if negated else "!="} "{NO_TEXT}"'

    def is_number(self, name: str) -> bool:
        """Whether a name is a field of numbers."""
        return name == "probability" or name in self.numbers


FORMAT_1 = Layout(1)
FORMAT_2 = Layout(
    2,
    texts=("site", "view", "sex", "source", "study_uid", "series_uid"),
    numbers=("age", "days"),
    reserved=(RESERVED,),
    has_checksums=True,
)
LAYOUTS = {layout.format: layout for layout in (FORMAT_1, FORMAT_2)}
CURRENT = FORMAT_2
NEWEST_FORMAT = CURRENT.format


def _is_number(value: object) -> TypeGuard[float]:
    """A finite number that a double keeps as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value) and float(value) == value
    except OverflowError:
        return False
