"""Films removed from a Milvus server, and an archive there that is mended."""

from __future__ import annotations

from cxrclient.archive.checks import verify
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.mending import mend
from cxrclient.archive.milvus.layout import CURRENT
from cxrclient.archive.removal import remove
from cxrclient.archive.selection import ids_of_patients
from milvus_archives import MODEL, TOKEN, about, vectors

FILMS = 60


def fill(index: SimilarityIndex) -> None:
    ids = [f"1.2.{n}" for n in range(FILMS)]
    index.add(ids, vectors()[:FILMS], [about(n) for n in range(FILMS)])


def segments(index: SimilarityIndex) -> set[int]:
    """The files that the server keeps the films in."""
    return {
        segment.segment_id for segment in index._store._open.list_persistent_segments(index.archive)
    }


def test_a_removed_patient_is_in_no_collection_and_the_segments_are_written_anew(
    index, milvus_server
) -> None:
    fill(index)
    beside = f"{index.archive}_{'b' * 12}"
    server = {"model_digest": "b" * 64, "token": TOKEN, "collection": beside}
    with SimilarityIndex(milvus_server.uri, **server) as old:
        fill(old)
    index._store._open.release_collection(beside)
    index._store._open.flush(index.archive)
    before = segments(index)
    ids = ids_of_patients(index, {"p7"})
    assert ids == ["1.2.21", "1.2.23"]  # 1.2.22 names no patient
    assert remove(index, ids) == 2
    assert len(index) == FILMS - 2
    assert not set(ids) & {film.id for film in index.search(vectors()[21], 50)}
    assert before.isdisjoint(segments(index))
    assert "NotLoad" in str(index._store._open.get_load_state(beside)["state"])
    with SimilarityIndex(milvus_server.uri, **server) as old:
        assert old.known(ids) == set()
        assert len(old) == FILMS - 2


def test_of_films_with_one_id_one_is_left(index, milvus_server) -> None:
    fill(index)
    again = index._store.rows(index.archive, 'id == "1.2.5" or id == "1.2.50"')
    index._store._open.insert(index.archive, [CURRENT.split({}) | row for row in again])
    assert len(index) == FILMS + 2
    faults = verify(index, named_most=None)
    assert [(fault.code, fault.count) for fault in faults] == [("DUPLICATE_ID", 2)]
    assert [done.ids for done in mend(index, faults)] == [("1.2.5", "1.2.50")]
    assert (verify(index), len(index)) == ([], FILMS)
    with SimilarityIndex(
        milvus_server.uri, model_digest=MODEL, token=TOKEN, collection=index.archive
    ) as again:
        assert len(again) == FILMS
