"""A Milvus server that is lost, or a writer that is killed."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cxrclient.archive.index import Added, SimilarityIndex
from cxrclient.errors import (
    ArchiveInput,
    ArchiveUnavailable,
)
from milvus_archives import FILMS, MODEL, TOKEN, vectors
from waiting import eventually


def test_a_lost_connection_says_how_many_films_are_safe_and_adding_again_mends_it(
    index: SimilarityIndex, milvus_server, wire_to
) -> None:
    wire = wire_to(milvus_server.uri.removeprefix("http://"))
    ids = [str(n) for n in range(FILMS)]
    with SimilarityIndex(
        f"http://{wire.address}",
        model_digest=MODEL,
        token=TOKEN,
        collection=index.archive,
        timeout_s=20,
    ) as far:
        write = far._store.upsert

        def write_and_lose(collection: str, rows: list[dict[str, Any]]) -> None:
            write(collection, rows)
            wire.cut()

        far._store.upsert = write_and_lose  # type: ignore[method-assign]
        with pytest.raises(ArchiveUnavailable, match="1000 of these 1200 films are stored"):
            far.add(ids, vectors(), [{}] * FILMS)
        far._store.upsert = write  # type: ignore[method-assign]
        assert index.known(ids) == set(ids[:1000])
        wire.mend()

        def added() -> Added | None:
            with suppress(ArchiveUnavailable):
                return far.add(ids, vectors(), [{}] * FILMS)
            return None

        # gRPC tries again by and by, and fails at once meanwhile.
        assert eventually(added) == Added(200, 1000)
    assert index.known(ids) == set(ids)


WRITER = """
import sys, numpy as np
from cxrclient.archive.index import SimilarityIndex
uri, token, name = sys.argv[1:]
index = SimilarityIndex(uri, model_digest="a" * 64, token=token, collection=name)
vectors = np.random.default_rng(0).normal(size=(50, 128)).astype(np.float32)
for n in range(10000):
    index.add([f"{n}.{m}" for m in range(50)], vectors, [{}] * 50)
    print(n, flush=True)
"""


def acknowledged_before(uri: str, collection: str, kill: Callable[[Any], None]) -> list[str]:
    """Write until `kill` ends the writer or its server; the ids that were acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, uri, TOKEN, collection],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert writer.stdout is not None
    batches = [writer.stdout.readline() for _ in range(8)]
    kill(writer)
    writer.kill()  # else it would look for its server for a while
    batches += writer.stdout.readlines()
    writer.wait(timeout=600)
    assert int(batches[7]) == 7
    return [f"{int(n)}.{m}" for n in batches for m in range(50)]


def test_what_was_acknowledged_survives_the_kill_of_the_writer_in_a_file(tmp_path: Path) -> None:
    uri = tmp_path / "cxr.db"
    ids = acknowledged_before(str(uri), "cxr_films", lambda writer: writer.kill())
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert index.known(ids) == set(ids)
        assert len(index) % 50 == 0
        assert len(index) - len(ids) in (0, 50)  # one batch may have come in unsaid


@pytest.mark.slow  # half a minute, most of it until the server is back
def test_what_was_acknowledged_survives_the_kill_of_the_server(milvus_server) -> None:
    """The last test of this file: the server is another one afterwards."""
    name = f"t{uuid.uuid4().hex}"
    ids = acknowledged_before(milvus_server.uri, name, lambda writer: milvus_server.kill())
    milvus_server.start()
    with SimilarityIndex(
        milvus_server.uri, model_digest=MODEL, token=TOKEN, collection=name
    ) as index:
        assert index.known(ids) == set(ids)
        assert {film.id for film in index.films()} >= set(ids)
        with pytest.raises(ArchiveInput, match="twice"):
            index.add(["1", "1"], vectors()[:2], [{}] * 2)
