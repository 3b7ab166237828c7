"""Archives on a real Milvus server, and the same ones in a file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from cxrclient.archive.index import Added, SimilarityIndex
from milvus_archives import FILMS, MODEL, TOKEN, about, vectors


def fill(index: SimilarityIndex) -> None:
    ids = [f"1.2.{n}" for n in range(FILMS)]
    rows = [about(n) for n in range(FILMS)]
    assert index.add(ids, vectors(), [{"label": "wrong"}] * FILMS) == Added(FILMS, 0)
    assert index.add(ids, vectors(), rows) == Added(0, FILMS)


@pytest.fixture(scope="session")
def both(milvus_server, tmp_path_factory) -> Iterator[tuple[SimilarityIndex, SimilarityIndex]]:
    """The same films, put in by the same calls, in a file and on a server."""
    path = tmp_path_factory.mktemp("lite") / "cxr.db"
    with (
        SimilarityIndex(path, model_digest=MODEL) as lite,
        SimilarityIndex(milvus_server.uri, model_digest=MODEL, token=TOKEN) as server,
    ):
        fill(lite)
        fill(server)
        yield lite, server


@pytest.fixture
def index(milvus_server) -> Iterator[SimilarityIndex]:
    """An archive of its own on the server."""
    name = f"t{uuid.uuid4().hex}"
    with SimilarityIndex(
        milvus_server.uri, model_digest=MODEL, token=TOKEN, collection=name
    ) as index:
        yield index
