"""Filter expressions for Milvus, with every value escaped.

Milvus Lite has no filter templates, so values are written into the expression. A value that cannot
be written safely is refused: `" or 1==1 or "` must find the films with that very label, or none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from numbers import Real
from typing import TypeAlias

from cxrclient.archive.milvus.layout import FIELDS, Layout
from cxrclient.errors import ArchiveInput

Scalar: TypeAlias = str | int | float | bool
Filter: TypeAlias = Scalar | Collection[Scalar] | tuple[float | None, float | None]

_NOTHING = 'id == ""'  # no film has an empty id


def expression(
    filters: Mapping[str, Filter],
    layout: Layout,
    *,
    without_ids: Collection[str] = (),
    without_patients: Collection[str] = (),
    also: Collection[str] = (),
) -> str:
    """All of `filters` at once; "" where nothing is asked.

    Args:
        filters: name → value, list of values, or range (low, high).
        layout: of the collection.
        without_ids: films to leave out.
        without_patients: keys of the patients to leave out.
        also: further conditions, safe already.

    Raises:
        ArchiveInput: a name or value that cannot be asked for.
    """
    parts = [_condition(name, value, layout) for name, value in filters.items()]
    for field, values in (("id", without_ids), ("patient_key", without_patients)):
        if values:
            parts.append(f"{field} not in [{', '.join(literal(value) for value in values)}]")
    # Somebody's own words last: whatever Milvus makes of them, it has read the others.
    return " and ".join(f"({part})" for part in [*parts, *also])


def one_of(target: str, values: Iterable[Scalar]) -> str:
    """`target` has one of `values`; a list of one kind each, because mixed ones fail in Milvus."""
    kinds: dict[type, list[str]] = {}
    for value in values:
        kind = bool if isinstance(value, bool) else str if isinstance(value, str) else float
        kinds.setdefault(kind, []).append(literal(value))
    if not kinds:
        return _NOTHING
    return "(" + " or ".join(f"{target} in [{', '.join(k)}]" for k in kinds.values()) + ")"


def literal(value: Scalar) -> str:
    """A value in Milvus's expression language."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes of quote and backslash are Milvus's too; those of control characters are
        # not (Lite), and `text` has refused them.
        return json.dumps(text("a filter", value), ensure_ascii=False)
    if isinstance(value, Real) and math.isfinite(value) and abs(value) < 2**63:
        return repr(int(value)) if isinstance(value, int) else repr(float(value))
    raise ArchiveInput(f"{value!r} cannot be filtered by. Use text, a finite number or yes/no.")


def text(what: str, value: object, max_bytes: int = 1024) -> str:
    """`value` if it is text that Milvus can store and find again.

    Raises:
        ArchiveInput: not text, too long, control characters, or half a character (a surrogate).
    """
    if not isinstance(value, str):
        raise ArchiveInput(f"{what}: {value!r} is not text.")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise ArchiveInput(f"{what}: {value!r} is not valid Unicode.") from error
    if size > max_bytes:
        raise ArchiveInput(f"{what}: {size} bytes of text; {max_bytes} is the limit.")
    if any(character < " " for character in value):
        raise ArchiveInput(f"{what}: {value!r} has control characters.")
    return value


def column(name: str) -> str:
    """Where a column lies that has no field of its own, or a value that its field cannot take."""
    return f"metadata[{literal(text('a column', name))}]"


def _condition(name: str, value: Filter, layout: Layout) -> str:
    match value:
        case str() | bool() | int() | float():
            return _equal(name, [value], layout)
        case (low, high) if isinstance(value, tuple):
            return _range(name, low, high, layout)
        case list() | set() | frozenset():
            return _equal(name, value, layout)
        case _:
            raise ArchiveInput(
                f"{name}: {value!r} is no filter. Use a value, a list of values, or (low, high)."
            )


def _equal(name: str, values: Collection[Scalar], layout: Layout) -> str:
    if name in FIELDS:
        return one_of(name, values)
    held = [value for value in values if layout.holds(name, value)]
    others = [value for value in values if not layout.holds(name, value)]
    parts = []
    if held:
        parts.append(one_of(name, map(float, held) if layout.is_number(name) else held))
    if others or not held:
        parts.append(one_of(column(name), others))
    return " or ".join(parts)


def _range(name: str, low: object, high: object, layout: Layout) -> str:
    is_number = layout.is_number(name)
    target = name if is_number or name in FIELDS else column(name)
    parts = []
    for bound, sign in ((low, ">="), (high, "<=")):
        if bound is None:
            continue
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise ArchiveInput(
                f"{name}: {bound!r} is no number, so it cannot begin or end a range."
            )
        written = literal(bound)
        # Milvus Lite finds nothing by a whole number in a field of doubles.
        parts.append(f"{target} {sign} {literal(float(bound)) if is_number else written}")
    if not parts:
        raise ArchiveInput(f"{name}: a range needs a beginning or an end.")
    if is_number and (not isinstance(low, int | float) or low <= layout.lowest(name)):
        parts.append(layout.is_known(name))
    return " and ".join(parts)
