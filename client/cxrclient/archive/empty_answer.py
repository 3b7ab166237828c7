"""Why a search found nothing: columns that no film has, and values that no film has in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from cxrclient.archive.milvus.raw_filter import columns
from cxrclient.archive.milvus.rows import FIELDS

if TYPE_CHECKING:
    from cxrclient.archive.index import SimilarityIndex
    from cxrclient.archive.milvus.filters import Filter

_NAMED = 8
"""Values that a sentence names."""
_LOOKED_AT = 5_000
"""Films that are looked at; of a large archive, all of them would take minutes."""


def why_empty(
    index: SimilarityIndex, filters: Mapping[str, Filter], where: str | None
) -> Iterator[str]:
    """Sentences about what was asked for and no film has; none where only all of it together fails.

    The first films are looked at one by one, for Milvus Lite cannot be asked whether a column
    exists. Where there are more, the sentences say that they are of the first ones.
    """
    texts = {name: set(value) for name, value in filters.items() if isinstance(value, list)}
    asked = dict.fromkeys([*filters, *(columns(where, FIELDS) if where else ())])
    seen: dict[str, set[str]] = {name: set() for name in asked}
    for film in islice(index.films(), _LOOKED_AT):
        for name, value in film.about().items():
            if name in seen and value is not None:
                seen[name].add(str(value))
    none = "No film" if len(index) <= _LOOKED_AT else f"None of the first {_LOOKED_AT:,} films"
    for name, values in seen.items():
        if not values and name not in FIELDS:
            yield f"{none} of {index.uri} has a column {name!r}."
        elif name in texts and texts[name].isdisjoint(values):
            there = ", ".join(sorted(values)[:_NAMED]) or "none"
            more = ", …" if len(values) > _NAMED else ""
            wanted = " or ".join(sorted(map(str, texts[name])))
            yield f"{none} of {index.uri} has the {name} {wanted}; there are: {there}{more}."
