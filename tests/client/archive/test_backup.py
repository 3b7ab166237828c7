"""A backup by `archive export`, brought back by `archive import`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cxrclient.archive.archive_key import bind_key
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus.layout import CURRENT
from small_archives import MODEL, embeddings, filled

SECRET = "a secret of this test"
QUERIES = embeddings(6, seed=5)


def answers(uri: Path) -> list[object]:
    asked = [{}, {"k": 20, "one_per_patient": False}, {"view": "AP", "age": (None, 55)}]
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        return [index.search(query, **options) for query in QUERIES for options in asked]


def test_a_restored_archive_has_the_same_neighbours_and_the_same_key(uri, run, tmp_path) -> None:
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        bind_key(index, SECRET.encode())
    filled(uri, 60)
    file, restored = tmp_path / "cxr.parquet", tmp_path / "restored.db"
    exported = run("export", file, "--uri", uri)
    assert (exported.exit_code, "patient key is not in it" in exported.stderr) == (0, True)
    imported = run("import", file, "--uri", restored)
    assert (imported.exit_code, imported.stderr) == (0, "")
    assert answers(restored) == answers(uri)
    with SimilarityIndex(restored, model_digest=None) as index:
        bind_key(index, SECRET.encode())


def test_a_restore_without_the_key_says_so(uri, run, tmp_path, monkeypatch) -> None:
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        bind_key(index, SECRET.encode())
    filled(uri)
    run("export", tmp_path / "cxr.parquet", "--uri", uri)
    monkeypatch.setenv("CXR_PATIENT_KEY", "another secret of this test")
    result = run("import", tmp_path / "cxr.parquet", "--uri", tmp_path / "other.db")
    assert (result.exit_code, "key of these films is not here" in result.stderr) == (0, True)


def test_films_that_were_taken_out_come_back_from_a_backup(uri, run, tmp_path) -> None:
    filled(uri)
    before = answers(uri)
    run("export", tmp_path / "cxr.parquet", "--uri", uri)
    assert run("remove", "--id", "1.2.3", "--id", "1.2.4", "--yes", "--uri", uri).exit_code == 0
    assert answers(uri) != before
    assert "2 added, 18 already" in run("import", tmp_path / "cxr.parquet", "--uri", uri).stdout
    assert answers(uri) == before


def test_a_flipped_bit_in_a_backup_is_found(uri, run, tmp_path) -> None:
    filled(uri, 200)
    file = tmp_path / "cxr.parquet"
    run("export", file, "--uri", uri)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    result = run("import", file, "--uri", tmp_path / "other.db")
    assert (result.exit_code, "is damaged" in result.stderr) == (2, True)


def test_what_could_not_be_brought_back_is_no_backup(uri, run, tmp_path) -> None:
    filled(uri)
    row = {"id": "9.nan", "embedding": np.full(128, np.nan, np.float32), "label": "",
           "label_source": "", "patient_key": "", "probability": -1.0,
           **CURRENT.split({})}  # fmt: skip
    with SimilarityIndex(uri, model_digest=None) as index:
        index._store.upsert(index.collection, [row])
    result = run("export", tmp_path / "cxr.parquet", "--uri", uri)
    assert (result.exit_code, "verify --mend" in result.stderr) == (2, True)
    assert not (tmp_path / "cxr.parquet").exists()
