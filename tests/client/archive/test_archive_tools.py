"""`cxrclient archive`: stats, verify, export, import and migrate."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from cxrclient.archive import parquet
from cxrclient.archive.checks import verify
from cxrclient.archive.identity import hashed_uid
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus.layout import CURRENT
from cxrclient.errors import ArchiveInput, ArchiveUnavailable, CxrClientError, UsageError
from cxrclient.wire.client import CxrClient

MODEL = "a" * 64
SECRET = "a secret of this test"


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 128)).astype(np.float32)


def fill(uri: Path, count: int = 30) -> None:
    rows = [
        {
            "label": ("covid", "non-covid")[n % 2],
            "label_source": "metadata" if n < 10 else "predicted",
            "probability": None if n == 3 else n / 100,
            "patient_key": None if n == 4 else f"p{n // 3}",
            "days": float(n % 3),
            "treatment": "Sauerstoff: hoch, „5 l“ µ",
        }
        for n in range(count)
    ]
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        index.add([f"1.2.{n}" for n in range(count)], vectors(count), rows)


def contents(uri: Path) -> list[tuple[object, ...]]:
    with SimilarityIndex(uri, model_digest=None) as index:
        return [(film.id, film.embedding.tobytes(), film.about()) for film in index.films()]


# --- stats and verify -------------------------------------------------------------------------


def test_stats_count_films_patients_and_labels(uri, run) -> None:
    fill(uri)
    found = json.loads(run("stats", "--uri", uri, "--json").stdout)
    assert (found["films"], found["patients"], found["without_patient"]) == (30, 10, 1)
    assert found["labels"] == {
        "metadata": {"covid": 5, "non-covid": 5},
        "predicted": {"covid": 10, "non-covid": 10},
    }
    assert (found["with_days"], found["model_digest"]) == (30, MODEL)
    assert found["index"] == {"name": "FLAT", "parameters": {}}
    assert found["collections"] == {"cxr_films": MODEL}
    words = run("stats", "--uri", uri).stdout
    for part in ("films: 30", "10, and 1 film of unknown patients", "index: FLAT", MODEL):
        assert part in words


def test_a_whole_archive_has_nothing_wrong(uri, run) -> None:
    fill(uri)
    result = run("verify", "--uri", uri)
    assert (result.exit_code, result.stdout) == (0, "30 films, nothing wrong.\n")


def test_verify_finds_what_another_program_put_in_and_exits_with_3(uri, run) -> None:
    fill(uri)
    bad = vectors(5) + 100
    bad[0, 7] = np.nan
    bad[1] = 0
    bad[2] = vectors(1)[0]  # of 1.2.0
    ids = ("9.nan", "9.zero", "9.same", "9 bad", "9.good")
    with SimilarityIndex(uri, model_digest=None) as index:
        rows = [
            {"id": film_id, "embedding": vector, "label": "", "label_source": "",
             "patient_key": "", "probability": -1.0, **CURRENT.split({})}
            for film_id, vector in zip(ids, bad, strict=True)
        ]  # fmt: skip
        index._store.upsert(index.collection, rows)
        found = {p.code: p.ids for p in verify(index)}
    assert found == {
        "BAD_ID": ("9 bad",),
        "NOT_FINITE": ("9.nan",),
        "ZERO_VECTOR": ("9.zero",),
        "SAME_VECTOR": ("9.same",),
    }
    result = run("verify", "--uri", uri)
    assert (result.exit_code, "NOT_FINITE: 1 films" in result.stdout) == (3, True)
    record = json.loads(run("verify", "--uri", uri, "--json").stdout)
    assert {problem["code"] for problem in record["problems"]} == set(found)


def test_verify_finds_films_that_a_search_does_not(uri) -> None:
    """As when an index has lost them; here, the index of the archive is that of other vectors."""
    fill(uri)
    with SimilarityIndex(uri, model_digest=None) as index:
        nearest = index._store.nearest
        index._store.nearest = lambda c, v, *rest: nearest(c, v + 5, *rest)  # type: ignore[method-assign]
        assert [(p.code, p.count) for p in verify(index)] == [("NOT_FOUND", 30)]


def test_verify_finds_another_models_digest(uri, run) -> None:
    fill(uri)
    other = "b" * 64
    SimilarityIndex(uri, model_digest=other, collection=f"cxr_films_{other[:12]}").close()
    with SimilarityIndex(uri, model_digest=None) as index:
        messages = [p.message for p in verify(index, "c" * 64) if p.code == "FOREIGN_DIGEST"]
    assert "archive migrate" in messages[0]
    assert f"cxr_films_{other[:12]}" in messages[1]


# --- export and import ------------------------------------------------------------------------


def test_an_archive_comes_back_from_parquet_as_it_was(uri, run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parquet, "_ROW_GROUP", 7)
    fill(uri)
    file, other = tmp_path / "cxr.parquet", tmp_path / "other.db"
    assert "30 films" in run("export", file, "--uri", uri).stdout
    assert pq.ParquetFile(file).num_row_groups == 5
    assert "30 added, 0 already there" in run("import", file, "--uri", other).stdout
    assert contents(other) == contents(uri)


def test_other_programs_read_the_embeddings(uri, run, tmp_path) -> None:
    fill(uri)
    run("export", tmp_path / "cxr.parquet", "--uri", uri)
    table = pq.read_table(tmp_path / "cxr.parquet").sort_by("id").to_pydict()
    order = sorted(range(30), key=lambda n: f"1.2.{n}")
    assert np.array_equal(np.array(table["embedding"], np.float32), vectors(30)[order])
    assert table["probability"][table["id"].index("1.2.3")] is None


def test_films_that_are_there_stay_unless_asked_otherwise(uri, run, tmp_path) -> None:
    fill(uri)
    file = tmp_path / "cxr.parquet"
    run("export", file, "--uri", uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        index.add(["1.2.0"], vectors(1), [{"label": "corrected"}])
    before = contents(uri)
    assert "0 added, 30 already there" in run("import", file, "--uri", uri).stdout
    assert contents(uri) == before
    assert "0 added, 30 already there" in run("import", file, "--uri", uri, "--overwrite").stdout
    assert contents(uri) != before


def test_another_models_file_is_refused(uri, run, tmp_path) -> None:
    fill(uri)
    run("export", tmp_path / "cxr.parquet", "--uri", uri)
    other = tmp_path / "other.db"
    with SimilarityIndex(other, model_digest="b" * 64) as index:
        with pytest.raises(ArchiveInput, match="new archive"):
            list(parquet.import_parquet(index, tmp_path / "cxr.parquet"))
        assert len(index) == 0
    result = run("import", tmp_path / "cxr.parquet", "--uri", other)
    assert (result.exit_code, "ARCHIVE_MISMATCH" in result.stderr) == (1, True)


def test_an_export_is_not_called_something_else(uri, run, tmp_path) -> None:
    result = run("export", tmp_path / "cxr.csv", "--uri", uri)
    assert (result.exit_code, "does not end in .parquet" in result.stderr) == (2, True)


def test_a_full_disk_is_no_wrong_usage_and_a_folder_that_is_none_is(uri, run, tmp_path) -> None:
    fill(uri)
    most, signalled = resource.getrlimit(resource.RLIMIT_FSIZE), signal.SIGXFSZ
    with SimilarityIndex(uri, model_digest=None) as index:
        before = signal.signal(signalled, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most[1]))
        try:
            with pytest.raises(CxrClientError, match="File too large") as raised:
                parquet.export_parquet(index, tmp_path / "cxr.parquet")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
            signal.signal(signalled, before)
    assert raised.value.exit_code == 1
    assert list(tmp_path.glob("*.parquet*")) == []
    nowhere = run("export", tmp_path / "nowhere" / "cxr.parquet", "--uri", uri)
    assert (nowhere.exit_code, "There is no folder" in nowhere.stderr) == (2, True)


def test_a_file_that_is_there_is_not_written_over(uri, run, tmp_path) -> None:
    fill(uri)
    (tmp_path / "cxr.parquet").write_text("mine")
    result = run("export", tmp_path / "cxr.parquet", "--uri", uri)
    assert (result.exit_code, (tmp_path / "cxr.parquet").read_text()) == (2, "mine")


def test_an_export_that_fails_leaves_no_file(uri, tmp_path, monkeypatch) -> None:
    fill(uri)
    monkeypatch.setattr(parquet, "_ROW_GROUP", 10)
    monkeypatch.setattr("cxrclient.archive.index._BATCH", 10)  # read when an archive is opened
    with SimilarityIndex(uri, model_digest=None) as index:
        films = index.films()
        monkeypatch.setattr(index, "films", lambda: (index.close() or f for f in films))
        with pytest.raises(ArchiveUnavailable, match="closed"):
            parquet.export_parquet(index, tmp_path / "cxr.parquet")
    assert list(tmp_path.glob("*.parquet*")) == []


def written(path: Path, **columns: pa.Array) -> Path:
    about = {"format": 1, "model_digest": MODEL}
    schema = parquet._schema()
    empty = {
        "id": pa.array(["1"]),
        "embedding": pa.array([[0.5] * 128], pa.list_(pa.float32(), 128)),
        **{name: pa.array([None], schema.field(name).type) for name in schema.names[2:]},
    }
    arrays = list((empty | columns).values())
    fields = schema.with_metadata({b"cxr-triton": json.dumps(about).encode()})
    pq.write_table(pa.Table.from_arrays(arrays, schema=fields), path)
    return path


def test_a_bad_vector_in_a_file_is_refused_by_name(uri, tmp_path) -> None:
    nan = pa.array([[float("nan")] * 128], pa.list_(pa.float32(), 128))
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        good = parquet.import_parquet(index, written(tmp_path / "good.parquet"))
        assert [done.added for done in good] == [1]
        file = written(tmp_path / "bad.parquet", id=pa.array(["2"]), embedding=nan)
        with pytest.raises(ArchiveInput, match="NaN"):
            list(parquet.import_parquet(index, file))
        assert len(index) == 1


def test_what_is_no_export_is_refused(uri, run, tmp_path) -> None:
    (tmp_path / "text.parquet").write_text("no Parquet")
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "other.parquet")
    for name in ("text.parquet", "other.parquet", "nowhere.parquet"):
        result = run("import", tmp_path / name, "--uri", uri)
        assert (result.exit_code, uri.exists()) == (2, False)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"cxr-triton\[archive\]"):
        parquet.model_digest(tmp_path / "cxr.parquet")


# --- migrate ----------------------------------------------------------------------------------


@pytest.fixture
def films(tmp_path, drawn_film, write_dicom) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(4):
        write_dicom(folder / f"{number}.dcm", drawn_film(seed=number), PatientID=f"P{number}")
    return folder


@pytest.fixture
def migrate(run, triton_server) -> Callable[..., Result]:
    return lambda *arguments: run("migrate", *arguments, "--server", triton_server.grpc_address)


def old_archive(
    uri: Path, films: Path, triton_server, ids: Callable[[str], str] = str
) -> tuple[dict[int, str], str]:
    """An archive of an older model with three of the four films; their ids, and the new digest."""
    with CxrClient(triton_server.grpc_address) as cxr:
        found = {n: ids(cxr.predict(films / f"{n}.dcm").film_id) for n in range(3)}
        digest = cxr.model.digest
    rows = [
        {"label": "truth", "label_source": "metadata", "patient_key": "p0", "treatment": "oxygen"},
        {"label": "before", "label_source": "predicted", "probability": 2.0**-7, "days": 3.0},
        {"label": "truth", "label_source": "metadata"},
    ]
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        index.add(list(found.values()), vectors(3), rows)
    return found, digest


def test_a_migrated_archive_has_new_embeddings_and_all_that_was_known(
    uri, films, migrate, triton_server
) -> None:
    ids, digest = old_archive(uri, films, triton_server)
    result = migrate(films, "--uri", uri)
    assert result.exit_code == 0, result.output
    assert "3 films predicted again" in result.stdout
    assert "1 given that are not in the archive" in result.stdout
    with (
        CxrClient(triton_server.grpc_address) as cxr,
        SimilarityIndex(uri, model_digest=digest) as index,
    ):
        found = {film.id: film for film in index.films()}
        assert set(found) == set(ids.values())
        new = {n: cxr.predict(films / f"{n}.dcm") for n in ids}
    for number, film_id in ids.items():
        assert found[film_id].embedding == pytest.approx(new[number].embedding, abs=1e-5)
        assert found[film_id].probability == pytest.approx(new[number].probability, abs=1e-6)
    assert found[ids[0]].about() | {"probability": None} == {
        "label": "truth",
        "label_source": "metadata",
        "patient_key": "p0",
        "treatment": "oxygen",
        "probability": None,
    }
    assert found[ids[1]].label == new[1].label
    assert found[ids[1]].metadata == {"days": 3.0}


def test_an_archive_with_films_that_were_not_given_stays_as_it_is(
    uri, films, migrate, triton_server
) -> None:
    ids, digest = old_archive(uri, films, triton_server)
    before = contents(uri)
    result = migrate(films / "0.dcm", films / "1.dcm", "--uri", uri)
    assert (result.exit_code, f"{ids[2]}: no film was given" in result.stderr) == (3, True)
    assert contents(uri) == before
    again = migrate(films / "2.dcm", "--uri", uri)
    assert again.exit_code == 0, again.output
    assert "1 films predicted again" in again.stdout
    with SimilarityIndex(uri, model_digest=digest) as index:
        assert len(index) == 3


def test_films_may_be_left_behind_and_the_old_ones_removed_if_asked(
    uri, films, migrate, triton_server
) -> None:
    _, digest = old_archive(uri, films, triton_server)
    result = migrate(films / "0.dcm", "--uri", uri, "--allow-missing", "--drop-old")
    assert result.exit_code == 0, result.output
    with SimilarityIndex(uri, model_digest=digest) as index:
        assert len(index) == 1
        assert index.collections() == {f"cxr_films_{digest[:12]}": digest}
    assert "of the server's model already" in migrate(films, "--uri", uri).stdout


def test_an_archive_of_hashed_ids_is_migrated_by_them(uri, films, migrate, triton_server) -> None:
    key = SECRET.encode()
    ids, digest = old_archive(uri, films, triton_server, lambda uid: hashed_uid(uid, key))
    assert migrate(films, "--uri", uri).exit_code == 0
    with SimilarityIndex(uri, model_digest=digest) as index:
        assert {film.id for film in index.films()} == set(ids.values())


def test_a_film_that_cannot_be_read_is_told_and_its_archive_stays(
    uri, films, migrate, triton_server
) -> None:
    old_archive(uri, films, triton_server)
    (films / "1.dcm").write_bytes(b"")
    result = migrate(films / "0.dcm", films / "1.dcm", films / "2.dcm", "--uri", uri)
    assert (result.exit_code, "1.dcm: NOT_READABLE" in result.stderr) == (3, True)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index) == 3


def test_the_commands_import_nothing_heavy() -> None:
    code = (
        "import sys, cxrclient.cli.archive;"
        "print({'pymilvus', 'numpy', 'tritonclient', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_a_pipe_in_place_of_a_parquet_file_is_refused_and_not_waited_for(uri, run, tmp_path):
    pipe = tmp_path / "films.parquet"
    os.mkfifo(pipe)
    result = run("import", str(pipe), "--uri", str(uri))
    assert result.exit_code == 2
    assert "no Parquet file that can be read" in " ".join(result.output.split())
