"""Why a search found nothing: columns that no film has, and values that no film has in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cxrclient.archive.milvus.raw_filter import columns
from cxrclient.archive.milvus.rows import FIELDS

if TYPE_CHECKING:
    from cxrclient.archive.index import SimilarityIndex
    from cxrclient.archive.milvus.filters import Filter

__all__ = ["why_empty"]

_NAMED = 8
"""Values that a sentence names."""


def why_empty(
    index: SimilarityIndex, filters: Mapping[str, Filter], where: str | None
) -> Iterator[str]:
    """Sentences about what was asked for and no film has; none where only all of it together fails.

    The films are looked at one by one, for Milvus Lite cannot be asked whether a column exists.
    """
    texts = {name: set(value) for name, value in filters.items() if isinstance(value, list)}
    asked = [*filters, *(columns(where, FIELDS) if where else ())]
    missing = dict.fromkeys(name for name in asked if name not in FIELDS)
    unmet = dict.fromkeys(texts)
    seen: dict[str, set[Any]] = {name: set() for name in texts}
    for film in index.films():
        about = film.about()
        for name in [name for name in missing if name in about]:
            del missing[name]
        for name in [name for name in unmet if about.get(name) is not None]:
            seen[name].add(str(about[name]))
            if about[name] in texts[name]:
                del unmet[name]
        if not missing and not unmet:
            return
    for name in missing:
        yield f"No film of {index.uri} has a column {name!r}."
    for name in unmet:
        if name not in missing:
            there = ", ".join(sorted(seen[name])[:_NAMED]) or "none"
            more = ", …" if len(seen[name]) > _NAMED else ""
            wanted = " or ".join(sorted(map(str, texts[name])))
            yield f"No film of {index.uri} has the {name} {wanted}; there are: {there}{more}."
