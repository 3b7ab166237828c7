"""Archives on real Milvus Lite: one for each test, and some that tests only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrclient.archive.index import SimilarityIndex
from small_archives import MODEL, filled


@pytest.fixture
def uri(tmp_path: Path) -> Path:
    return tmp_path / "cxr.db"


@pytest.fixture
def index(uri: Path) -> Iterator[SimilarityIndex]:
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        yield index


@pytest.fixture(scope="module")
def shared_archive(tmp_path_factory) -> Iterator[SimilarityIndex]:
    uri = tmp_path_factory.mktemp("archive") / "cxr.db"
    filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        yield index


@pytest.fixture(scope="module")
def empty_archive(tmp_path_factory) -> Iterator[SimilarityIndex]:
    uri = tmp_path_factory.mktemp("empty") / "cxr.db"
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        yield index
