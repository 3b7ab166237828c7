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

from cxrclient.errors import ArchiveInput

Scalar: TypeAlias = str | int | float | bool
Filter: TypeAlias = Scalar | Collection[Scalar] | tuple[float | None, float | None]

_NOTHING = 'id == ""'  # no film has an empty id


def expression(
    filters: Mapping[str, Filter],
    fields: Collection[str],
    *,
    without_ids: Collection[str] = (),
    without_patients: Collection[str] = (),
    also: Collection[str] = (),
) -> str:
    """All of `filters` at once; "" where nothing is asked.

    Args:
        filters: name → value, list of values, or range (low, high).
        fields: the names that are fields of the collection; others are columns of `metadata`.
        without_ids: films to leave out.
        without_patients: keys of the patients to leave out.
        also: further conditions, safe already.

    Raises:
        ArchiveInput: a name or value that cannot be asked for.
    """
    parts = []
    for name, value in filters.items():
        target = name if name in fields else f"metadata[{literal(text('a column', name))}]"
        parts.append(_condition(name, target, value))
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


def _condition(name: str, target: str, value: Filter) -> str:
    match value:
        case str() | bool() | int() | float():
            return one_of(target, [value])
        case (low, high) if isinstance(value, tuple):
            return _range(name, target, low, high)
        case list() | set() | frozenset():
            return one_of(target, value)
        case _:
            raise ArchiveInput(
                f"{name}: {value!r} is no filter. Use a value, a list of values, or (low, high)."
            )


def _range(name: str, target: str, low: object, high: object) -> str:
    parts = []
    for bound, sign in ((low, ">="), (high, "<=")):
        if bound is None:
            continue
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise ArchiveInput(
                f"{name}: {bound!r} is no number, so it cannot begin or end a range."
            )
        parts.append(f"{target} {sign} {literal(bound)}")
    if not parts:
        raise ArchiveInput(f"{name}: a range needs a beginning or an end.")
    if name == "probability":
        parts.append(f"{target} >= 0")  # below stand the films without one
    return " and ".join(parts)
