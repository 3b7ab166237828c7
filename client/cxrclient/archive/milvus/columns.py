"""Which columns the films of an archive have: a filter by a column of no film is a misspelt one.

Milvus finds nothing by such a filter, or, with `!=`, everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from cxrclient.archive.metadata_columns import OWN_COLUMNS
from cxrclient.archive.milvus.filters import column
from cxrclient.archive.milvus.layout import FIELDS
from cxrclient.archive.milvus.raw_filter import columns, parenthesised
from cxrclient.archive.milvus.store import Store
from cxrclient.errors import ArchiveInput

_BATCH = 10_000
_NAMED = 12
# Any text, any number, yes or no. Milvus Lite does not know `exists`; what is none of these (a
# list, say) is found by looking at the films.
_HAS = '{0} >= "" or {0} > -1e308 or {0} <= -1e308 or {0} in [true, false]'


class Columns:
    """The columns of one collection, each asked for once.

    Args:
        store: the Milvus that has it.
        collection: its name.
        shown_uri: the archive, for messages.
    """

    def __init__(self, store: Store, collection: str, shown_uri: str) -> None:
        self._store, self._collection, self._uri = store, collection, shown_uri
        self._layout = store.layout(collection)
        self._known = {*FIELDS, "id", *OWN_COLUMNS}

    def require(self, filters: Iterable[str], where: str | None = None) -> None:
        """Make sure that films have the columns of a search's filters.

        Our own (view, age and the like) may be missing: they are not misspelt. In an archive
        without films any column is fine.

        Args:
            filters: names that the search filters by.
            where: its filter in Milvus's language.

        Raises:
            ArchiveInput: names a column that no film has, and the one that may have been meant; or
                `where` cannot be read, or asks an archive in a file what only a server answers.
        """
        if where is not None:
            asked = parenthesised(where, self._layout)
            if self._store.local:  # so that it says at once what it does not understand
                self._store.one_id(self._collection, asked)
        for name in (*filters, *(columns(where, FIELDS) if where else ())):
            if name not in self._known:
                self._look_for(name)
                self._known.add(name)

    def _look_for(self, name: str) -> None:
        if self._store.one_id(self._collection, _HAS.format(column(name))) is not None:
            return
        # All films without their embeddings: 40,000 in 0.3 s.
        there: set[str] = set()
        films = 0
        fields = ("id", *self._layout.columns, "metadata")
        for rows in self._store.scan(self._collection, _BATCH, fields):
            films += len(rows)
            there.update(*map(self._layout.known, rows))
        if films and name not in there:
            raise ArchiveInput(
                f"No film of {self._uri} has a column {name!r}. {_meant(name, there)}"
            )


def _meant(name: str, there: set[str]) -> str:
    # Case and all: to Milvus, `Age` is not `age`.
    spelt = {column.casefold(): column for column in sorted(there.union(FIELDS, OWN_COLUMNS))}
    if near := get_close_matches(name.casefold(), spelt, n=1):
        return f"Did you mean {spelt[near[0]]!r}?"
    more = ", …" if len(there) > _NAMED else ""
    return f"There are: {', '.join(sorted(there)[:_NAMED]) or 'none'}{more}."
