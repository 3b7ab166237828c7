"""Formats 1 and 2 on a server: while films are in memory, and when they lie in sealed segments."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from archive_formats import FILMS, NONE, OF_A_SERVER, RAW, STRUCTURED, about
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus import schema
from cxrclient.archive.milvus.layout import FORMAT_1
from cxrclient.archive.milvus.store import Store
from cxrclient.errors import ArchiveInput
from milvus_archives import MODEL, TOKEN
from small_archives import embeddings

IDS = [f"1.2.{n}" for n in range(FILMS)]
QUERY = embeddings(1, seed=1)[0]


def opened(uri: str, name: str) -> SimilarityIndex:
    return SimilarityIndex(uri, model_digest=MODEL, token=TOKEN, collection=name, timeout_s=60)


def seal(index: SimilarityIndex) -> None:
    """Let the server write what it has in memory, with the indexes of its fields."""
    client = index._store._open
    client.flush(index.collection)
    client.release_collection(index.collection)
    client.load_collection(index.collection)


@pytest.fixture(scope="module")
def formats(milvus_server) -> Iterator[tuple[SimilarityIndex, SimilarityIndex]]:
    names = [f"f{n}{uuid.uuid4().hex}" for n in (1, 2)]
    store = Store(milvus_server.uri, token=TOKEN, tls=None, timeout_s=60, create=True)
    store.create(names[0], MODEL, FORMAT_1)
    store.close()
    with (
        opened(milvus_server.uri, names[0]) as first,
        opened(milvus_server.uri, names[1]) as second,
    ):
        for index in (first, second):
            rows = [about(n) for n in range(FILMS)]
            cut = FILMS // 2  # half of them in a sealed segment, half in memory
            index.add(IDS[:cut], embeddings(FILMS)[:cut], rows[:cut])
            seal(index)
            index.add(IDS[cut:], embeddings(FILMS)[cut:], rows[cut:])
        yield first, second


def answer(index: SimilarityIndex, asked: dict[str, Any]) -> Any:
    try:
        found = index.search(QUERY, 100, one_per_patient=False, **asked)
    except ArchiveInput:
        return ArchiveInput
    return [(n.id, n.label, n.probability, n.metadata) for n in found]


def test_a_filter_finds_the_same_films_in_either_format(formats) -> None:
    """One test, because the server answers each only after a while."""
    unlike = []
    for asked in [*STRUCTURED, *({"where": where} for where in [*RAW, *OF_A_SERVER])]:
        before, after = (answer(index, asked) for index in formats)
        if before != after or (not before and asked not in NONE):
            unlike.append((asked, before, after))
    assert unlike == []


def test_the_fields_have_indexes_and_keep_them_when_the_embeddings_get_another(
    formats, monkeypatch
) -> None:
    first, second = (set(i._store._open.list_indexes(i.collection)) for i in formats)
    wanted = {"embedding", *schema.field_indexes(formats[1]._layout)}
    assert (first, second) == ({"embedding"}, wanted)
    assert {"age", "view", "site", "patient_key", "study_uid"} < wanted
    monkeypatch.setattr("cxrclient.archive.milvus.index_kinds.HNSW_FROM", FILMS)
    assert formats[1].fit_index().name == "HNSW"
    assert set(formats[1]._store._open.list_indexes(formats[1].collection)) == wanted
    monkeypatch.undo()
    assert formats[1].fit_index().name == "FLAT"


def test_films_lie_apart_by_their_site_where_the_server_can(milvus_server, monkeypatch) -> None:
    """This server (2.3.5) cannot do so by upserts, but by inserts; a later one by both."""
    name = f"p{uuid.uuid4().hex}"
    with opened(milvus_server.uri, name) as index:
        assert index._store._open.describe_collection(name)["num_partitions"] == 1
    monkeypatch.setattr(schema, "_FIRST_WITH_PARTITIONS", (2, 3))
    with opened(milvus_server.uri, f"{name}2") as index:
        client = index._store._open
        assert client.describe_collection(f"{name}2")["num_partitions"] == schema.PARTITIONS
        monkeypatch.setattr(index._store, "upsert", lambda c, rows: client.insert(c, rows))
        index.add(IDS, embeddings(FILMS), [about(n) for n in range(FILMS)])
        for site in (["S1"], ["S0", "S2"]):
            wanted = {i for n, i in enumerate(IDS) if about(n).get("site") in site}
            found = index.search(QUERY, 100, site=site, one_per_patient=False)
            assert {n.id for n in found} == wanted
        assert len(index.search(QUERY, 100, one_per_patient=False)) == FILMS


@pytest.mark.parametrize(
    ("version", "can"),
    [
        ("2.3.5", False),
        ("v2.3.22-gpu", False),
        ("v2.4.0", True),
        ("2.6.4-dev", True),
        ("Zilliz Cloud Vector Database(Compatible with Milvus 2.5)", True),
        ("3.0", True),
        ("unknown", False),
    ],
)
def test_which_servers_keep_films_apart_by_site(version: str, can: bool) -> None:
    assert schema.has_partitions(version) is can
