"""Why a search finds nothing: values that no film has, or none together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any

from cxrclient.archive.milvus.filters import expression
from cxrclient.archive.milvus.raw_filter import (
    Condition,
    columns,
    comparisons,
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
_ENDS = ("from", "to")
"""What is said of a range's two ends."""


def asked_columns(filters: Iterable[str], where: str | None) -> list[str]:
    """The columns that a search is narrowed by, each once."""
    return list(dict.fromkeys([*filters, *(columns(where, FIELDS) if where else ())]))


def require_values(
    index: SimilarityIndex, filters: Mapping[str, Filter], where: str | None
) -> None:
    """Make sure that some film has each value that is asked for: another one is misspelt.

    Whether there is one, the archive is asked exactly; which are there, its first films tell. In an
    archive without films any value is fine.

    Args:
        index: the archive.
        filters: as `SimilarityIndex.search` takes them: texts and ranges.
        where: a filter in Milvus's language. Each of its comparisons counts, whatever stands around
            it: a text that a column is to equal or not to equal, and any other condition that
            some film has to meet by itself.

    Raises:
        ArchiveInput: names the value and the nearest one that is there, or the column of our own
            that no film has at all.
    """
    asked: list[tuple[str, Any, dict[str, Any], str | None]] = [
        (name, each, {name: each}, None)
        for name, value in filters.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    if where:
        asked += [(name, text, {name: text}, None) for name, text in texts_asked(where)]
        for one in comparisons(where):
            if one.column not in FIELDS:  # how many are so probable is no spelling
                asked.append((one.column, one, {}, one.condition))
    for name, value, plain, condition in asked:
        if _has(index, plain, condition):
            continue
        known = [film[name] for film in _first(index) if film.get(name) is not None]
        if there := {each for each in known if isinstance(each, str | int | float)}:
            raise ArchiveInput(f"{_none(index)} of {index.uri} has {_nearest(name, value, there)}")
        if not known and len(index):
            raise ArchiveInput(f"{_none(index)} of {index.uri} has a column {name!r}.")


def _has(index: SimilarityIndex, filters: Mapping[str, Filter], where: str | None = None) -> bool:
    """Whether any film matches."""
    layout = index._store.layout(index.collection)
    also = [] if where is None else [parenthesised(where, layout)]
    found = index._store.one_id(index.collection, expression(filters, layout, also=also))
    return found is not None


def _nearest(name: str, value: object, there: set[Any]) -> str:
    if name == "patient_key":
        return "this patient_key."  # keys of patients stand in no message
    words = f"an empty {name}" if value == "" else f"the {name} {value}"
    bounds: list[float] = []
    texts: Sequence[str] = [str(value)]
    if isinstance(value, Condition):
        words, bounds, texts = f"a value of {value}", value.numbers, value.texts
    elif isinstance(value, tuple):
        limits = [(word, each) for word, each in zip(_ENDS, value, strict=True) if each is not None]
        words = " ".join([f"a value of {name}", *(f"{word} {each:g}" for word, each in limits)])
        bounds, texts = [each for _, each in limits], ()
    if not texts:
        numbers = [each for each in there if isinstance(each, int | float)]
        if not numbers:
            return f"a number as {name}."
        low, high = min(numbers), max(numbers)
        span = f"here are {low:g} to {high:g}."
        if not bounds:
            return f"{words}. T{span}"
        bounds = [min(max(bound, low), high) for bound in bounds]  # one may be infinite
        number = min(numbers, key=lambda each: min(abs(each - bound) for bound in bounds))
        return f"{words}. The nearest is {number:g}; t{span}"
    spelt = {str(each).casefold(): str(each) for each in sorted(map(str, there))}
    wanted = texts[0].strip("%").casefold()
    (near,) = get_close_matches(wanted, spelt, n=1, cutoff=0.0)
    named = ", ".join(sorted(spelt.values())[:_NAMED]) + ", …" * (len(spelt) > _NAMED)
    return f"{words}. The nearest is {spelt[near]}; there are: {named}."


def _first(index: SimilarityIndex) -> Iterator[dict[str, Any]]:
    return (film.about() for film in islice(index.films(), _LOOKED_AT))


def _none(index: SimilarityIndex) -> str:
    return "No film" if len(index) <= _LOOKED_AT else f"None of the first {_LOOKED_AT:,} films"


def why_empty(index: SimilarityIndex, filters: Mapping[str, Filter], where: str | None) -> str:
    """Say why a search finds nothing, though `require_values` had nothing to say."""
    if not len(index):
        return f"{index.uri} has no films."
    if _has(index, filters, where):
        return "All films that match are the film itself, or of its patient."
    return f"No film of {index.uri} has all of this at once."
