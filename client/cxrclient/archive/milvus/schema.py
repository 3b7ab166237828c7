"""The fields and indexes that an archive's collection is made with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cxrclient.archive.milvus.index_kinds import IndexKind
from cxrclient.archive.milvus.layout import CHECKSUM, COLUMN_TEXT_MAX, Layout
from cxrclient.archive.milvus.rows import CHECKSUM_SIZE, EMBEDDING_SIZE, TEXT_MAX

# Sites share them by the hash of their name. Milvus searches all that hold films.
PARTITIONS = 16
# An upsert of servers before puts films into partitions where a filter by site does not look
# (milvus-io/milvus#30607, seen in 2.3.5: 64 of 1,000 found).
_FIRST_WITH_PARTITIONS = (2, 4)
# Both are of every server from 2.2 on.
_TEXT_INDEX, _NUMBER_INDEX = "Trie", "STL_SORT"


def has_partitions(server_version: str) -> bool:
    """Whether a server keeps films apart by their site as it should."""
    found = re.search(r"(\d+)\.(\d+)", server_version)
    return found is not None and (int(found[1]), int(found[2])) >= _FIRST_WITH_PARTITIONS


def schema(layout: Layout, description: str, *, partitioned: bool) -> Any:
    """The fields of a collection.

    Args:
        layout: which columns have fields.
        description: what the collection says of itself; it outlives the process in Milvus Lite,
            where `properties` do not (measured).
        partitioned: keep films apart by their site. It cannot be changed afterwards.
    """
    from pymilvus import DataType, MilvusClient

    made = MilvusClient.create_schema(
        auto_id=False, enable_dynamic_field=False, description=description
    )
    made.add_field("id", DataType.VARCHAR, is_primary=True, max_length=TEXT_MAX)
    made.add_field("embedding", DataType.FLOAT_VECTOR, dim=EMBEDDING_SIZE)
    for name in ("label", "label_source", "patient_key"):
        made.add_field(name, DataType.VARCHAR, max_length=TEXT_MAX)
    made.add_field("probability", DataType.FLOAT)
    for name in layout.texts:
        key = {"is_partition_key": True} if partitioned and name == "site" else {}
        made.add_field(name, DataType.VARCHAR, max_length=COLUMN_TEXT_MAX, **key)
    for name in (*layout.numbers, *layout.reserved):
        made.add_field(name, DataType.DOUBLE)
    if layout.has_checksums:
        made.add_field(CHECKSUM, DataType.VARCHAR, max_length=CHECKSUM_SIZE)
    made.add_field("metadata", DataType.JSON)
    return made


def indexes(vectors: IndexKind | None, fields: Mapping[str, str] | None = None) -> Any:
    """Indexes as Milvus takes them: of the embeddings, and of `field_indexes`."""
    from pymilvus import MilvusClient

    made = MilvusClient.prepare_index_params()
    if vectors:
        parameters = dict(vectors.parameters)
        made.add_index("embedding", index_type=vectors.name, metric_type="L2", params=parameters)
    for name, kind in (fields or {}).items():
        made.add_index(name, index_type=kind, index_name=name)
    return made


def field_indexes(layout: Layout) -> dict[str, str]:
    """Field → kind of its index, where a server has one; format 1 has none."""
    if not layout.columns:
        return {}
    texts = ("label", "patient_key", *layout.texts)
    return dict.fromkeys(texts, _TEXT_INDEX) | dict.fromkeys(layout.numbers, _NUMBER_INDEX)
