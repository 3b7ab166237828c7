"""One Milvus, in a file or on a server: what the archive asks of it, and what it may answer.

All that is different between Milvus Lite and a server is here and in `link.py`
(docs/adr/0003 and 0016).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.archive.milvus.index_kinds import FLAT, IndexKind
from cxrclient.archive.milvus.layout import CHECKSUM, CURRENT, LAYOUTS, Layout
from cxrclient.archive.milvus.link import Link
from cxrclient.archive.milvus.rows import TEXT_MAX
from cxrclient.archive.milvus.schema import (
    PARTITIONS,
    field_indexes,
    has_partitions,
    indexes,
    schema,
)
from cxrclient.errors import ArchiveInput, ArchiveMismatch, ArchiveUnavailable
from cxrclient.files import parse_json

ANSWER_MAX = 16384
"""The most rows that Milvus answers with."""

# Loading and building indexes is a server's work of minutes where an archive is large.
LONG_S = 3600.0
_POINTER_SIZE = 2


class Store(Link):
    """What the archive does with one Milvus."""

    def __init__(self, uri: str, **options: Any) -> None:
        """Connect, as `Link` does."""
        super().__init__(uri, **options)
        self._layouts: dict[str, Layout] = {}

    # --- collections -----------------------------------------------------------------------

    def current(self, archive: str) -> str:
        """The collection that holds the films of `archive` now: its own, or what `switch` chose."""
        pointer = f"{archive}_current"
        with self.mapped():
            if not self._open.has_collection(pointer, timeout=self._timeout_s):
                return archive
            if not self.local:  # an alias
                about = self._open.describe_collection(pointer, timeout=self._timeout_s)
                return str(about["collection_name"])
            self._open.load_collection(pointer, timeout=self._timeout_s)
            rows = self._open.query(
                pointer, filter="", limit=ANSWER_MAX, output_fields=["id", "collection"]
            )
        return str(max(rows, key=lambda row: row["id"])["collection"]) if rows else archive

    def switch(self, archive: str, collection: str) -> None:
        """Make `collection` the one that holds the films of `archive`, in one step."""
        pointer = f"{archive}_current"
        with self.mapped():
            there = self._open.has_collection(pointer, timeout=self._timeout_s)
            if not self.local:
                act = self._open.alter_alias if there else self._open.create_alias
                act(collection, pointer, timeout=self._timeout_s)
                return
            # Milvus Lite has no aliases. Each switch adds one row, and the last row counts, so that
            # an interruption leaves either the old state or the new one.
            if not there:
                self._create_pointer(pointer)
            self._open.load_collection(pointer, timeout=self._timeout_s)
            rows = self._open.query(pointer, filter="", limit=ANSWER_MAX, output_fields=["id"])
            number = 1 + max((row["id"] for row in rows), default=0)
            row = {"id": number, "nothing": [0.0] * _POINTER_SIZE, "collection": collection}
            self._open.insert(pointer, [row], timeout=self._timeout_s)

    def _create_pointer(self, name: str) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("nothing", DataType.FLOAT_VECTOR, dim=_POINTER_SIZE)  # Milvus wants one
        schema.add_field("collection", DataType.VARCHAR, max_length=TEXT_MAX)
        index = MilvusClient.prepare_index_params()
        index.add_index("nothing", index_type=FLAT.name, metric_type="L2")
        self._open.create_collection(name, schema=schema, index_params=index)

    def key_check(self, archive: str) -> str | None:
        """What `keep_key_check` was given; None where it never was."""
        name = f"{archive}_key"
        with self.mapped():
            if not self._open.has_collection(name, timeout=self._timeout_s):
                return None
            self._open.load_collection(name, timeout=self._timeout_s)
        rows = self._query(name, "", ["collection"], limit=1, consistency_level="Strong")
        return str(rows[0]["collection"]) if rows else None

    def keep_key_check(self, archive: str, check: str) -> None:
        """Remember a check value of the patient key, beside whatever collection is in use.

        A description is fixed when its collection is made, and by then nobody has asked for a key.
        """
        name = f"{archive}_key"
        row = {"id": 1, "nothing": [0.0] * _POINTER_SIZE, "collection": check}
        with self.mapped():
            if not self._open.has_collection(name, timeout=self._timeout_s):
                self._create_pointer(name)
            self._open.upsert(name, [row], timeout=self._timeout_s)

    def generations(self, archive: str) -> list[str]:
        """All collections of `archive`: its own, and those of other models beside it."""
        with self.mapped():
            names = self._open.list_collections(timeout=self._timeout_s)
        own = re.compile(rf"{re.escape(archive)}(_[0-9a-f]{{12}}(_2)?)?")
        return sorted(name for name in names if own.fullmatch(name))

    def about(self, collection: str) -> dict[str, Any] | None:
        """The facts that `create` wrote; None where there is no such collection.

        Raises:
            ArchiveMismatch: another program made it.
        """
        with self.mapped():
            if not self._open.has_collection(collection, timeout=self._timeout_s):
                return None
            described = self._open.describe_collection(collection, timeout=self._timeout_s)
        try:
            about = dict(parse_json(described["description"]))
            about["model_digest"] = str(about["model_digest"])
            is_newer = about["format"] not in LAYOUTS
        except (ValueError, KeyError, TypeError) as error:
            raise ArchiveMismatch(
                f"The collection {collection} in {self.shown_uri} was not made by cxrclient. Give "
                "another URI or another collection."
            ) from error
        if is_newer:
            raise ArchiveMismatch(
                f"The archive {self.shown_uri} has the format {about['format']}, which this "
                "version of cxrclient does not know. Update it: pip install -U cxr-triton."
            )
        return about

    def create(self, collection: str, model_digest: str, layout: Layout = CURRENT) -> None:
        """Make a collection for a model's films."""
        about = json.dumps({"format": layout.format, "model_digest": model_digest})
        with self.mapped():
            partitioned = (
                not self.local
                and "site" in layout.columns
                and has_partitions(str(self._open.get_server_version(timeout=self._timeout_s)))
            )
            self._open.create_collection(
                collection,
                schema=schema(layout, about, partitioned=partitioned),
                index_params=indexes(FLAT, None if self.local else field_indexes(layout)),
                consistency_level="Strong",
                timeout=self._timeout_s,
                **({"num_partitions": PARTITIONS} if partitioned else {}),
            )

    def layout(self, collection: str) -> Layout:
        """How films lie in a collection; asked for once."""
        if collection not in self._layouts:
            about = self.about(collection) or {}
            self._layouts[collection] = LAYOUTS[about.get("format", CURRENT.format)]
        return self._layouts[collection]

    def drop(self, collection: str) -> None:
        """Remove a collection with all its films."""
        with self.mapped():
            self._open.drop_collection(collection, timeout=self._timeout_s)
        self._layouts.pop(collection, None)

    # --- index -----------------------------------------------------------------------------

    def load(self, collection: str) -> IndexKind:
        """Make a collection ready to be searched; says what index it has.

        An index that an interrupted `build_index` took away is made again.
        """
        try:
            with self.mapped():
                kind = self._index_kind(collection)
                if kind is None:
                    kind = FLAT
                    self._open.create_index(collection, indexes(kind), timeout=LONG_S)
                if not self.local:
                    self._index_fields(collection)
                self._open.load_collection(collection, timeout=LONG_S)
        except ArchiveInput as error:  # no filter was asked: it is a film that makes no sense
            raise ArchiveUnavailable(
                f"{self.shown_uri} has a film that Milvus Lite cannot read. Find it: cxrclient "
                f"archive verify --uri {self.shown_uri}"
            ) from error
        if not self.local:
            self.count(collection)  # waits until all that was ever acknowledged can be seen
        return kind

    def build_index(self, collection: str, kind: IndexKind) -> None:
        """Put another index in the place of the present one. Nobody can search meanwhile."""
        with self.mapped():
            self._open.flush(collection, timeout=LONG_S)
            self._open.release_collection(collection, timeout=self._timeout_s)
            for name in self._open.list_indexes(collection, "embedding"):
                self._open.drop_index(collection, name, timeout=self._timeout_s)
            self._open.create_index(collection, indexes(kind), timeout=LONG_S)
            self._open.load_collection(collection, timeout=LONG_S)

    def _index_fields(self, collection: str) -> None:
        """Make the indexes of fields that an interrupted `create` left out."""
        there = set(self._open.list_indexes(collection))
        wanted = field_indexes(self.layout(collection))
        if missing := {name: kind for name, kind in wanted.items() if name not in there}:
            self._open.create_index(collection, indexes(None, missing), timeout=LONG_S)

    def _index_kind(self, collection: str) -> IndexKind | None:
        for name in self._open.list_indexes(collection, "embedding"):
            found = self._open.describe_index(collection, name, timeout=self._timeout_s)
            return IndexKind.described(found)
        return None

    # --- films -----------------------------------------------------------------------------

    def count(self, collection: str, where: str = "") -> int:
        """How many films there are of which `where` is true; all that were acknowledged count."""
        rows = self._query(collection, where, ["count(*)"], consistency_level="Strong")
        return int(rows[0]["count(*)"])

    def ids(self, collection: str, where: str) -> list[str]:
        """Ids of the films of which `where` is true, of all that were acknowledged."""
        rows = self._query(collection, where, ["id"], consistency_level="Strong")
        return [str(row["id"]) for row in rows]

    def one_id(self, collection: str, where: str = "") -> str | None:
        """The id of some film of which `where` is true; None where there is none."""
        rows = self._query(collection, where, ["id"], limit=1)
        return str(rows[0]["id"]) if rows else None

    def rows(self, collection: str, where: str) -> list[dict[str, Any]]:
        """All fields of the films of which `where` is true."""
        return self._query(collection, where, self._film(collection))

    def scan(
        self,
        collection: str,
        batch: int,
        fields: Sequence[str] | None = None,
        among: str = "",
    ) -> Iterator[list[dict[str, Any]]]:
        """Films by ascending id, `batch` at a time.

        Args:
            collection: that has them.
            batch: how many at once.
            fields: of each; None for all.
            among: a condition that they meet; "" for all films.
        """
        fields = fields or self._film(collection)
        self.count(collection)  # from here on, all that was acknowledged can be seen
        last = ""
        while True:
            where = f"id > {json.dumps(last)}" + (f" and ({among})" if among else "")
            rows = self._query(collection, where, fields, limit=batch)
            rows.sort(key=lambda row: str(row["id"]))
            if rows:
                yield rows
            if len(rows) < batch:
                return
            last = str(rows[-1]["id"])

    def _film(self, collection: str) -> tuple[str, ...]:
        layout = self.layout(collection)
        checksum = (CHECKSUM,) if layout.has_checksums else ()
        return ("id", *layout.fields, *checksum, "embedding")

    def _query(
        self, collection: str, where: str, fields: Sequence[str], **options: Any
    ) -> list[dict[str, Any]]:
        options = {"consistency_level": "Session"} | options
        with self.mapped():
            rows = self._open.query(
                collection,
                filter=where,
                output_fields=list(fields),
                timeout=self._timeout_s,
                **options,
            )
            return [dict(row) for row in rows]

    def nearest(
        self,
        collection: str,
        vector: npt.NDArray[np.float32],
        limit: int,
        where: str,
        kind: IndexKind,
    ) -> list[Mapping[str, Any]]:
        """The films nearest to a vector, of which `where` is true; squared distances."""
        hits = self._search(collection, vector, limit, where, kind.search_params(limit))
        # A graph may lose its way among films that a filter leaves out, and end too soon.
        if not kind.exact and len(hits) < limit and len(hits) < self.count(collection, where):
            widely = kind.search_params(limit, widely=True)
            hits = self._search(collection, vector, limit, where, widely)
        return hits

    def _search(
        self,
        collection: str,
        vector: npt.NDArray[np.float32],
        limit: int,
        where: str,
        params: Mapping[str, int],
    ) -> list[Mapping[str, Any]]:
        with self.mapped():
            (hits,) = self._open.search(
                collection,
                data=[vector],
                limit=limit,
                filter=where,
                output_fields=list(self.layout(collection).fields),
                search_params={"metric_type": "L2", "params": dict(params)},
                # Strong waits for the server's next tick, 200 ms (measured). What this process has
                # written is seen in any case, and `load` waited for what others had.
                consistency_level="Session",
                timeout=self._timeout_s,
            )
            return list(hits)

    def upsert(self, collection: str, rows: list[dict[str, Any]]) -> None:
        """Write films, over those that are there. When it returns, they are safe."""
        with self.mapped():
            self._open.upsert(collection, rows, timeout=self._timeout_s)
