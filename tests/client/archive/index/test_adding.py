"""Adding to an archive on real Milvus Lite."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from cxrclient.archive.index import Added, SimilarityIndex
from cxrclient.errors import ArchiveInput
from small_archives import embeddings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Milvus Lite has no Windows build")


def test_adding_twice_changes_nothing_and_says_so(index: SimilarityIndex) -> None:
    ids, vectors, about = ["1", "2", "3"], embeddings(3), [{"label": "covid"}] * 3
    first = index.add(ids, vectors, about)
    before = index.search(vectors[0], k=9)
    second = index.add(ids, vectors, about)
    assert (first, second) == (Added(3, 0), Added(0, 3))
    assert (len(index), index.search(vectors[0], k=9)) == (3, before)


def test_adding_again_with_a_corrected_label_corrects_it(index: SimilarityIndex) -> None:
    index.add(["1"], embeddings(1), [{"label": "covid"}])
    index.add(["1"], embeddings(1), [{"label": "non-covid"}])
    assert [n.label for n in index.search(embeddings(1)[0])] == ["non-covid"]


def test_more_films_than_one_batch_all_arrive(index: SimilarityIndex) -> None:
    ids = [str(n) for n in range(1203)]
    assert index.add(ids, embeddings(1203), [{}] * 1203) == Added(1203, 0)
    assert (len(index), index.known([*ids, "not there"])) == (1203, set(ids))


def test_adding_nothing_is_fine(empty_archive: SimilarityIndex) -> None:
    assert empty_archive.add([], np.empty((0, 128), np.float32), []) == Added(0, 0)


def bad(row: int, value: float) -> np.ndarray:
    vectors = embeddings(3)
    vectors[row, 5] = value
    return vectors


@pytest.mark.parametrize(
    ("ids", "vectors", "about", "message"),
    [
        (["1", "2", "3"], bad(1, np.nan), [{}] * 3, "NaN or infinite values in row 1"),
        (["1", "2", "3"], bad(2, np.inf), [{}] * 3, "NaN or infinite values in row 2"),
        (["1"], np.full((1, 128), 1e300), [{}], "NaN or infinite"),
        (["1"], np.ones((1, 127), np.float32), [{}], r"\(1, 127\)"),
        (["1"], np.ones(128, np.float32), [{}], r"\(128,\)"),
        (["1", "2"], embeddings(3), [{}] * 2, r"\(3, 128\)"),
        (["1"], np.ones((1, 128), np.int32), [{}], "int32"),
        (["1"], np.full((1, 128), "x"), [{}], "floating"),
        (["1"], [[1.0, 2.0], [1.0]], [{}], "no array"),
        (["1", ""], embeddings(2), [{}] * 2, "'' cannot be an id"),
        (["1", "a'b"], embeddings(2), [{}] * 2, "cannot be an id"),
        (["1", "x" * 129], embeddings(2), [{}] * 2, "cannot be an id"),
        (["1", "2", "1"], embeddings(3), [{}] * 3, "1 is in the batch twice"),
        (["1", "2"], embeddings(2), [{}], "2 ids, but 1"),
        (["1"], embeddings(1), [{"patient_id": "4711"}], "patient_key"),
        (["1"], embeddings(1), [{"probability": 1.5}], "not between 0 and 1"),
        (["1"], embeddings(1), [{"probability": float("nan")}], "not between 0 and 1"),
        (["1"], embeddings(1), [{"label": "x\x00"}], "control characters"),
        (["1"], embeddings(1), [{"label": "é" * 65}], "130 bytes"),
        (["1"], embeddings(1), [{"label": 1}], "is not text"),
        (["1"], embeddings(1), [{"age": float("nan")}], "JSON"),
        (["1"], embeddings(1), [{"age": object()}], "JSON"),
        (["1"], embeddings(1), [{"note": "\ud800"}], "JSON"),
        (["1"], embeddings(1), [{"note": "x" * 20000}], "bytes of metadata"),
    ],
)
def test_what_must_not_be_stored_is_refused_and_the_rest_of_the_batch_with_it(
    empty_archive: SimilarityIndex, ids, vectors, about, message: str
) -> None:
    with pytest.raises(ArchiveInput, match=message):
        empty_archive.add(ids, vectors, about)
    assert len(empty_archive) == 0


@pytest.mark.parametrize("query", [np.full(128, np.nan), np.ones(127), np.ones((1, 128))])
def test_a_query_is_checked_like_a_film(shared_archive: SimilarityIndex, query) -> None:
    with pytest.raises(ArchiveInput):
        shared_archive.search(query)
