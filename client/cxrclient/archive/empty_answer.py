"""Why a search finds nothing: columns that no film has, values that none has, or none together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any

from cxrclient.archive.milvus.filters import expression
from cxrclient.archive.milvus.raw_filter import (
    columns,
    numbers_asked,
    parenthesised,
    texts_asked,
)
from cxrclient.archive.milvus.rows import FIELDS
from cxrclient.errors import ArchiveInput

if TYPE_CHECKING:
    from cxrclient.archive.index import SimilarityIndex
    from cxrclient.archive.milvus.filters import Filter

_NAMED = 8
"""Values that a sentence names."""
_LOOKED_AT = 5_000
"""Films that are looked at; of a large archive, all of them would take minutes."""

_RANGES: dict[str, Callable[[float], tuple[float | None, float | None]]] = {
    "==": lambda number: (number, number),
    ">=": lambda number: (number, None),
    "<=": lambda number: (None, number),
    ">": lambda number: (math.nextafter(number, math.inf), None),
    "<": lambda number: (None, math.nextafter(number, -math.inf)),
}
"""What a comparison asks for, as the range from low to high, both included."""


def asked_columns(filters: Iterable[str], where: str | None) -> list[str]:
    """The columns that a search is narrowed by, each once."""
    return list(dict.fromkeys([*filters, *(columns(where, FIELDS) if where else ())]))


def require_values(
    index: SimilarityIndex, filters: Mapping[str, Filter], where: str | None
) -> None:
    """Make sure that some film has each value that is asked for: another one is misspelt.

    Whether there is one, the archive is asked exactly; which are there, its first films tell. A
    column of our own that no film has at all is left to `why_empty`.

    Args:
        index: the archive.
        filters: as `SimilarityIndex.search` takes them: texts and ranges.
        where: a filter in Milvus's language, of which the texts count that a column is to equal,
            and its comparisons with a number.

    Raises:
        ArchiveInput: names the value and the nearest one that is there.
    """
    asked: list[tuple[str, Any]] = []
    for name, value in filters.items():
        asked += [(name, each) for each in (value if isinstance(value, list) else [value])]
    asked += texts_asked(where) if where else []
    written = {}
    for name, sign, number in numbers_asked(where) if where else []:
        if sign in _RANGES and name not in FIELDS:  # how many are so probable is no spelling
            asked.append((name, _RANGES[sign](number)))
            written[asked[-1]] = f"{sign} {number:g}"
    for name, value in asked:
        if _has(index, {name: value}):
            continue
        there = {film[name] for film in _first(index) if film.get(name) is not None}
        if there:
            none = _none(index)
            words = written.get((name, value))
            raise ArchiveInput(f"{none} of {index.uri} has {_nearest(name, value, there, words)}")


def _has(index: SimilarityIndex, filters: Mapping[str, Filter], where: str | None = None) -> bool:
    """Whether any film matches."""
    layout = index._store.layout(index.collection)
    also = [] if where is None else [parenthesised(where, layout)]
    found = index._store.one_id(index.collection, expression(filters, layout, also=also))
    return found is not None


def _nearest(name: str, value: object, there: Iterable[Any], words: str | None) -> str:
    if isinstance(value, tuple):
        numbers = [each for each in there if isinstance(each, int | float)]
        low, high = value
        bounds = [bound for bound in value if bound is not None]
        if not numbers:
            return f"a number as {name}."
        number = min(numbers, key=lambda each: min(abs(each - bound) for bound in bounds))
        words = words or " ".join(
            f"{word} {bound:g}"
            for word, bound in (("from", low), ("to", high))
            if bound is not None
        )
        span = f"{min(numbers):g} to {max(numbers):g}"
        return f"a value of {name} {words}. The nearest is {number:g}; there are {span}."
    spelt = {str(each).casefold(): str(each) for each in sorted(map(str, there))}
    (near,) = get_close_matches(str(value).casefold(), spelt, n=1, cutoff=0.0)
    named = ", ".join(sorted(spelt.values())[:_NAMED]) + ", …" * (len(spelt) > _NAMED)
    return f"the {name} {value}. The nearest is {spelt[near]}; there are: {named}."


def _first(index: SimilarityIndex) -> Iterator[dict[str, Any]]:
    return (film.about() for film in islice(index.films(), _LOOKED_AT))


def _none(index: SimilarityIndex) -> str:
    return "No film" if len(index) <= _LOOKED_AT else f"None of the first {_LOOKED_AT:,} films"


def why_empty(
    index: SimilarityIndex, filters: Mapping[str, Filter], where: str | None
) -> Iterator[str]:
    """Sentences about what was asked for and no film has, or none has all at once.

    The first films are looked at one by one, for Milvus Lite cannot be asked whether a column
    exists. Where there are more, the sentences say that they are of the first ones.
    """
    texts = {name: set(value) for name, value in filters.items() if isinstance(value, list)}
    asked = asked_columns(filters, where)
    seen: dict[str, set[str]] = {name: set() for name in asked}
    for film in _first(index):
        for name, value in film.items():
            if name in seen and value is not None:
                seen[name].add(str(value))
    none = _none(index)
    alone_fails = False
    for name, values in seen.items():
        if not values and name not in FIELDS:
            alone_fails = True
            yield f"{none} of {index.uri} has a column {name!r}."
        elif name in texts and texts[name].isdisjoint(values):
            alone_fails = True
            there = ", ".join(sorted(values)[:_NAMED]) or "none"
            more = ", …" if len(values) > _NAMED else ""
            wanted = " or ".join(sorted(map(str, texts[name])))
            yield f"{none} of {index.uri} has the {name} {wanted}; there are: {there}{more}."
    if alone_fails or len(asked) < 2:
        return
    if not _has(index, filters, where):
        yield f"No film of {index.uri} has all of this at once, though some have each alone."
    else:
        yield "All films that match are the film itself, or of its patient."
