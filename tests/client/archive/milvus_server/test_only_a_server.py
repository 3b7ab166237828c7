"""What only a Milvus server can do: graphs, tokens, a move from a file."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cxrclient.archive.checks import verify
from cxrclient.archive.empty_answer import require_values
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus import index_kinds
from cxrclient.archive.milvus.layout import CURRENT
from cxrclient.archive.parquet import export_parquet
from cxrclient.cli.app import app
from cxrclient.errors import (
    ArchiveInput,
    ArchiveMismatch,
    ArchiveUnavailable,
)
from milvus_archives import FILMS, MODEL, QUERY, TOKEN, about, vectors

DATABASE = "elsewhere"


def test_a_large_archive_gets_a_graph_that_is_recorded_and_answers_alike(
    index: SimilarityIndex, milvus_server, both, monkeypatch
) -> None:
    ids = [f"1.2.{n}" for n in range(FILMS)]
    index.add(ids, vectors(), [about(n) for n in range(FILMS)])
    assert index.fit_index().name == "FLAT"
    monkeypatch.setattr(index_kinds, "HNSW_FROM", FILMS)
    assert index.fit_index().name == "HNSW"
    with SimilarityIndex(
        milvus_server.uri, model_digest=MODEL, token=TOKEN, collection=index.archive
    ) as again:
        assert again.kind.name == "HNSW"
        assert again.kind.parameters == index_kinds.HNSW.parameters
        for options in ({}, {"k": 300}, {"k": 1000}, {"k": 5, "view": "AP", "age": (40, 42)}):
            exact = [n.id for n in both[0].search(QUERY, **options)]
            found = [n.id for n in again.search(QUERY, **options)]
            assert len(found) == len(exact)
            assert len(set(found) & set(exact)) >= 0.98 * len(exact)
        search = again._store._search

        def search_that_ends_too_soon(*asked: Any) -> list[Any]:
            return search(*asked)[: None if asked[-1]["ef"] > 10_000 else 3]

        again._store._search = search_that_ends_too_soon  # type: ignore[method-assign]
        assert len(again.search(QUERY, 1000)) == len(both[0].search(QUERY, 1000))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("view == 'AP' or not (days >= 0)", "days for which not (days >= 0). The nearest is 0;"),
        ("view == 'AP' or days * 2 == 99", "a value of days * 2 == 99. There are 0 to 29."),
        ("not (view == 'AP' and days > 99)", None),
        ("not (days > 20) and days * 2 == 4", None),
    ],
)
def test_what_no_film_meets_behind_a_not_or_computed_is_said(
    index: SimilarityIndex, where: str, said: str | None
) -> None:
    index.add([f"1.2.{n}" for n in range(40)], vectors()[:40], [about(n) for n in range(40)])
    with pytest.raises(ArchiveInput, match=re.escape(said)) if said else nullcontext():
        require_values(index, {}, where)
    assert index.search(QUERY, where=where)


def test_an_index_that_was_lost_while_it_was_rebuilt_is_made_again(
    index: SimilarityIndex, milvus_server
) -> None:
    index.add(["1"], vectors()[:1], [{}])
    client = index._store._open
    client.release_collection(index._collection)
    client.drop_index(index._collection, client.list_indexes(index._collection)[0])
    with SimilarityIndex(
        milvus_server.uri, model_digest=MODEL, token=TOKEN, collection=index.archive
    ) as again:
        assert [n.id for n in again.search(QUERY)] == ["1"]


def test_another_models_archive_is_refused_on_a_server(index, milvus_server) -> None:
    with pytest.raises(ArchiveMismatch, match="archive migrate"):
        SimilarityIndex(
            milvus_server.uri, model_digest="b" * 64, token=TOKEN, collection=index.archive
        )


@pytest.mark.parametrize("token", [None, "root:wrong"])
def test_without_the_right_token_nobody_comes_in(milvus_server, token: str | None) -> None:
    with pytest.raises(ArchiveUnavailable, match="token"):
        SimilarityIndex(milvus_server.uri, model_digest=MODEL, token=token, timeout_s=5)


def test_a_password_in_the_uri_works_and_is_in_no_message(milvus_server) -> None:
    uri = milvus_server.uri.replace("http://", "http://root:Milvus@")
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert index.uri == milvus_server.uri
    with pytest.raises(ArchiveMismatch) as caught:
        SimilarityIndex(uri, model_digest="c" * 64)
    assert "Milvus@" not in str(caught.value)


def test_an_archive_goes_from_a_file_to_a_server_and_its_graph_is_in_the_stats(
    both, milvus_server, tmp_path, monkeypatch
) -> None:
    """The commands, with the token from the environment. The name of the archive is the usual."""
    monkeypatch.setenv("CXR_MILVUS_TOKEN", TOKEN)
    assert export_parquet(both[0], tmp_path / "cxr.parquet") == FILMS
    uri = f"{milvus_server.uri}/{DATABASE}"
    both[1]._store._open.create_database(DATABASE)
    monkeypatch.setattr(index_kinds, "HNSW_FROM", FILMS)

    def archive(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["archive", *arguments, "--uri", uri])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert f"{FILMS} added" in archive("import", str(tmp_path / "cxr.parquet"))
    stats = archive("stats")
    assert f"films: {FILMS} " in stats
    assert "index: HNSW M 16, efConstruction 200" in stats
    archive("export", str(tmp_path / "again.parquet"))
    before, after = (
        pq.read_table(tmp_path / f"{name}.parquet").sort_by("id") for name in ("cxr", "again")
    )
    assert after.equals(before)


def test_verify_finds_an_id_that_is_there_twice(index: SimilarityIndex) -> None:
    """Milvus itself lets a program insert an id again."""
    index.add(["1", "2"], vectors()[:2], [{}] * 2)
    (row,) = index._store.rows(index.collection, 'id == "1"')
    index._store._open.insert(index.collection, [CURRENT.split({}) | row])
    assert [(p.code, p.count) for p in verify(index)] == [("DUPLICATE_ID", 1)]
