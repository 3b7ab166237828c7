"""The archive on real Milvus Lite: what goes in, what comes out, and who is kept out."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cxrclient.archive.index import Added, SimilarityIndex
from cxrclient.archive.milvus.rows import Neighbour
from cxrclient.archive.neighbours import consensus
from cxrclient.errors import ArchiveInput, ArchiveMismatch, ArchiveUnavailable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Milvus Lite has no Windows build")

MODEL = "a" * 64
OTHER_MODEL = "b" * 64


def embeddings(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 128)).astype(np.float32)


def filled(uri: Path, count: int = 20) -> np.ndarray:
    vectors = embeddings(count)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        index.add(
            [f"1.2.{n}" for n in range(count)],
            vectors,
            [
                {
                    "label": ("covid", "non-covid")[n % 2],
                    "label_source": "metadata",
                    "probability": n / count,
                    "patient_key": f"key{n // 2}",
                    "view": ("AP", "PA")[n % 2],
                    "age": 40 + n,
                }
                for n in range(count)
            ],
        )
    return vectors


@pytest.fixture
def uri(tmp_path: Path) -> Path:
    return tmp_path / "cxr.db"


@pytest.fixture
def index(uri: Path) -> Iterator[SimilarityIndex]:
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        yield index


# --- searching -------------------------------------------------------------------------------


def test_distances_are_euclidean_and_ascending(uri: Path) -> None:
    vectors = filled(uri)
    query = embeddings(1, seed=1)[0]
    expected = np.linalg.norm(vectors - query, axis=1)
    order = np.argsort(expected)[:5]
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        found = index.search(query, k=5, one_per_patient=False)
    assert [n.id for n in found] == [f"1.2.{n}" for n in order]
    assert [n.distance for n in found] == pytest.approx(expected[order], rel=1e-5)


def test_a_neighbour_carries_all_that_was_put_in_with_the_film(uri: Path) -> None:
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        (found,) = index.search(vectors[3], k=1)
    assert found == Neighbour(
        id="1.2.3",
        distance=0.0,
        label="non-covid",
        label_source="metadata",
        probability=pytest.approx(0.15),
        patient_key="key1",
        metadata={"view": "PA", "age": 43},
    )


def test_what_was_never_given_comes_back_as_none(index: SimilarityIndex) -> None:
    index.add(["1"], embeddings(1), [{}])
    (found,) = index.search(embeddings(1)[0])
    given = (found.label, found.label_source, found.probability, found.patient_key, found.metadata)
    assert given == (None, None, None, None, {})


def test_films_at_the_same_distance_come_in_the_order_of_their_ids_also_at_the_cut(
    index: SimilarityIndex,
) -> None:
    order = np.random.default_rng(5).permutation(40)
    same = np.ones((40, 128), np.float32)
    index.add([f"{n:02}" for n in order], same, [{}] * 40)
    index.add(["nearest", "far"], np.stack([same[0] * 0.5, same[0] * 9]), [{}] * 2)
    found = [n.id for n in index.search(np.zeros(128, np.float32), k=4)]
    assert found == ["nearest", "00", "01", "02"]


def test_excluded_ids_are_left_out_and_k_is_still_reached(uri: Path) -> None:
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        found = [n.id for n in index.search(vectors[3], k=10, exclude=["1.2.3"])]
    assert (len(found), "1.2.3" in found) == (10, False)


def test_fewer_films_than_k_are_all_there_are(uri: Path) -> None:
    vectors = filled(uri, count=3)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index.search(vectors[0], k=1000, one_per_patient=False)) == 3


def test_an_empty_archive_has_no_neighbours(empty_archive: SimilarityIndex) -> None:
    assert empty_archive.search(embeddings(1)[0]) == []


@pytest.mark.parametrize(
    ("filters", "matching"),
    [
        ({"label": "covid"}, {n for n in range(20) if n % 2 == 0}),
        ({"view": "PA"}, {n for n in range(20) if n % 2}),
        ({"age": 43}, {3}),
        ({"age": 43.0}, {3}),
        ({"age": (43, 45)}, {3, 4, 5}),
        ({"age": (None, 42)}, {0, 1, 2}),
        ({"probability": (0.8, None)}, {16, 17, 18, 19}),
        ({"age": [40, 59]}, {0, 19}),
        ({"age": ["43", 44]}, {4}),
        ({"patient_key": {"key1", "key2"}}, {2, 3, 4, 5}),
        ({"label": "covid", "age": (50, None)}, {10, 12, 14, 16, 18}),
        ({"no such column": "x"}, set()),
        ({"label": []}, set()),
    ],
)
def test_filters_keep_just_the_films_that_match(
    shared_archive: SimilarityIndex, filters: dict[str, object], matching: set[int]
) -> None:
    found = shared_archive.search(embeddings(1)[0], k=50, one_per_patient=False, **filters)
    assert {n.id for n in found} == {f"1.2.{n}" for n in matching}


@pytest.fixture(scope="module")
def shared_archive(tmp_path_factory) -> Iterator[SimilarityIndex]:
    uri = tmp_path_factory.mktemp("archive") / "cxr.db"
    filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        yield index


hostile = st.one_of(
    st.sampled_from(
        [
            '" or 1==1 or label == "',
            'x" or id != "',
            "a'b",
            "\\",
            '\\"',
            "{x}",
            "%",
            "metadata",
            "*",
            "' OR '1'='1",
            "]",
            '"] or id not in ["',
        ]
    ),
    st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    st.text('"\\ab=]', min_size=1, max_size=12),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=hostile, column=hostile)
def test_no_filter_value_or_column_name_ever_finds_another_film(
    hostile_archive: SimilarityIndex, value: str, column: str
) -> None:
    vectors = embeddings(2, seed=7)
    about = [{"label": value, column: value}, {"label": "other", column: "other"}]
    hostile_archive.add(["mine", "others"], vectors, about)
    for filters in ({"label": value}, {"label": [value]}, {column: value}):
        found = hostile_archive.search(vectors[0], k=9, **filters)
        assert [n.id for n in found] == ["mine"]
    assert hostile_archive.search(vectors[0], k=9, exclude=["mine", value])[0].id == "others"


@pytest.fixture(scope="module")
def hostile_archive(tmp_path_factory) -> Iterator[SimilarityIndex]:
    uri = tmp_path_factory.mktemp("hostile") / "cxr.db"
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        yield index


@pytest.mark.parametrize(
    "filters",
    [
        {"label": "a\nb"},
        {"label": "\ud800"},
        {"label": None},
        {"age": float("nan")},
        {"age": 2**63},
        {"age": ("40", "60")},
        {"age": (None, None)},
        {"age": {"from": 40}},
        {"a\x00b": "x"},
    ],
)
def test_a_filter_that_cannot_be_asked_is_refused(
    shared_archive: SimilarityIndex, filters: dict[str, object]
) -> None:
    with pytest.raises(ArchiveInput):
        shared_archive.search(embeddings(1)[0], **filters)


@pytest.mark.parametrize("k", [0, -1, 1001, "x", 1.5])
def test_k_has_bounds(shared_archive: SimilarityIndex, k: Any) -> None:
    with pytest.raises(ArchiveInput, match="1 to 1000"):
        shared_archive.search(embeddings(1)[0], k=k)


def test_the_mean_prediction_counts_the_neighbours_that_have_one() -> None:
    def neighbour(probability: float | None) -> Neighbour:
        return Neighbour(id="1", distance=0, label=None, probability=probability, patient_key=None)

    together = consensus([neighbour(0.2), neighbour(None), neighbour(0.6)])
    assert together is not None
    assert together.mean_probability == pytest.approx(0.4)
    assert consensus([neighbour(None)]) is None


# --- adding ----------------------------------------------------------------------------------


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


@pytest.fixture(scope="module")
def empty_archive(tmp_path_factory) -> Iterator[SimilarityIndex]:
    uri = tmp_path_factory.mktemp("empty") / "cxr.db"
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        yield index


@pytest.mark.parametrize("query", [np.full(128, np.nan), np.ones(127), np.ones((1, 128))])
def test_a_query_is_checked_like_a_film(shared_archive: SimilarityIndex, query) -> None:
    with pytest.raises(ArchiveInput):
        shared_archive.search(query)


# --- opening ---------------------------------------------------------------------------------


def test_films_are_there_after_reopening(uri: Path) -> None:
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert (len(index), index.search(vectors[7], k=1)[0].id) == (20, "1.2.7")


def test_another_models_archive_is_refused_also_after_reopening(uri: Path) -> None:
    filled(uri)
    with pytest.raises(ArchiveMismatch, match=r"aaaaaaaaaaaa.*bbbbbbbbbbbb.*NEW\.db"):
        SimilarityIndex(uri, model_digest=OTHER_MODEL)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index) == 20


def test_a_collection_of_another_program_is_refused(uri: Path) -> None:
    filled(uri)
    from pymilvus import MilvusClient

    with SimilarityIndex(uri, model_digest=MODEL):
        client = MilvusClient(str(uri))  # served by the same Milvus Lite
        client.create_collection("theirs", dimension=8)
        client.close()
    with pytest.raises(ArchiveMismatch, match="not made by cxrclient"):
        SimilarityIndex(uri, model_digest=MODEL, collection="theirs")


def test_one_process_may_open_an_archive_twice_and_close_in_any_order(uri: Path) -> None:
    vectors = filled(uri)
    first = SimilarityIndex(uri, model_digest=MODEL)
    second = SimilarityIndex(uri, model_digest=MODEL)
    first.close()
    assert second.search(vectors[0], k=1)[0].id == "1.2.0"
    second.close()
    assert opened_elsewhere(uri) == "opened"


def test_a_closed_archive_says_so(uri: Path) -> None:
    index = SimilarityIndex(uri, model_digest=MODEL)
    index.close()
    index.close()
    with pytest.raises(ArchiveUnavailable, match="closed"):
        index.search(embeddings(1)[0])


OPEN = """
import sys
from cxrclient.errors import CxrClientError
from cxrclient.archive.index import SimilarityIndex
try:
    SimilarityIndex(sys.argv[1], model_digest=sys.argv[2]).close()
    print("opened")
except CxrClientError as error:
    print(error)
"""


def opened_elsewhere(uri: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(uri), MODEL], capture_output=True, text=True, timeout=600
    )
    return done.stdout.strip() or done.stderr


def test_an_archive_in_use_by_another_process_is_refused_time_and_again(uri: Path) -> None:
    """The second refusal matters: Milvus Lite alone lets the third process in."""
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        answers = [opened_elsewhere(uri) for _ in range(3)]
        assert index.search(vectors[0], k=1)[0].id == "1.2.0"
    assert all(answer.startswith("ARCHIVE_UNAVAILABLE") for answer in answers), answers
    assert "in use by another process" in answers[2]
    assert opened_elsewhere(uri) == "opened"


def test_an_archive_in_use_by_a_program_without_cxrclient_is_refused_too(uri: Path) -> None:
    filled(uri)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            "import sys; from pymilvus import MilvusClient; c = MilvusClient(sys.argv[1]);"
            "print('ready', flush=True); sys.stdin.read()",
            str(uri),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        for _ in range(2):
            with pytest.raises(ArchiveUnavailable, match="in use by another process"):
                SimilarityIndex(uri, model_digest=MODEL)
    finally:
        holder.communicate(b"", timeout=600)
    assert opened_elsewhere(uri) == "opened"


def test_a_milvus_lite_that_listens_late_is_waited_for(uri: Path, monkeypatch) -> None:
    from milvus_lite.server import Server

    quick = Server.args.fget
    late = ["/bin/sh", "-c", 'sleep 1; exec "$@"', "sh"]  # it waits for half a second itself
    monkeypatch.setattr(Server, "args", property(lambda self: [*late, *map(str, quick(self))]))
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index) == 0


def test_what_was_acknowledged_survives_a_kill(uri: Path) -> None:
    script = (
        "import os, sys, numpy as np; from cxrclient.archive.index import SimilarityIndex;"
        "i = SimilarityIndex(sys.argv[1], model_digest=sys.argv[2]);"
        "i.add(['1', '2'], np.eye(2, 128, dtype=np.float32), [{}, {}]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(uri), MODEL], timeout=600)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index) == 2


def refused(uri: Path | str, **options: object) -> str:
    with pytest.raises(ArchiveUnavailable) as caught:
        SimilarityIndex(uri, model_digest=MODEL, **options)  # type: ignore[arg-type]
    return caught.value.message


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(uri: Path) -> None:
    uri.write_bytes(b"patients,labels\n" * 100)
    assert "not a database" in refused(uri)
    assert uri.read_bytes() == b"patients,labels\n" * 100


def test_a_database_of_another_program_is_refused_and_left_as_it_was(uri: Path) -> None:
    connection = sqlite3.connect(uri)
    connection.execute("CREATE TABLE theirs (a)")
    connection.commit()
    connection.close()
    before = uri.read_bytes()
    assert "database of another program" in refused(uri)
    assert uri.read_bytes() == before


def test_a_truncated_archive_is_refused(uri: Path) -> None:
    filled(uri)
    uri.write_bytes(uri.read_bytes()[:5000])
    assert "damaged" in refused(uri)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("archive", "must end in .db"),
        ("with space.db", "must end in .db"),
        ("x" * 40 + ".db", "at most 36"),
        ("nowhere/cxr.db", "there is no folder"),
    ],
)
def test_a_path_that_cannot_be_an_archive_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    assert message in refused(tmp_path / name)


def test_a_folder_is_refused(uri: Path) -> None:
    uri.mkdir()
    assert "is a folder" in refused(uri)


def test_a_place_that_cannot_be_written_is_refused(uri: Path, monkeypatch) -> None:
    """Root may write anywhere, so the answer of the system call is what is replaced here."""
    filled(uri)
    uri.chmod(0o400)
    if os.access(uri, os.W_OK):
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: not mode & os.W_OK and real(p, mode))
    assert "not writable" in refused(uri)


def test_searching_where_there_is_no_archive_makes_none(uri: Path) -> None:
    assert f"cxrclient index FILES --uri {uri}" in refused(uri, create=False)
    assert not uri.exists()


def test_a_folder_for_temporary_files_with_too_long_a_path_is_named(
    uri: Path, tmp_path, monkeypatch
):
    import tempfile

    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert "Set TMPDIR" in refused(uri)


def test_a_server_that_does_not_answer_is_refused_soon() -> None:
    assert "Is the Milvus server running" in refused("http://127.0.0.1:9", timeout_s=2)


def test_windows_is_told_to_use_a_server(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert "does not run on Windows" in refused("cxr.db")


def test_an_empty_digest_is_refused(uri: Path) -> None:
    with pytest.raises(ArchiveInput, match="model_digest"):
        SimilarityIndex(uri, model_digest="")


def test_importing_the_index_does_not_load_pymilvus() -> None:
    code = "import sys, cxrclient.archive.index; print('pymilvus' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
