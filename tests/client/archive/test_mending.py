"""`cxrclient archive verify --mend`: flipped bits, and what other programs put in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxrclient.archive.archive_key import bind_key
from cxrclient.archive.checks import verify
from cxrclient.archive.identity import hashed_uid
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.mending import mend
from cxrclient.archive.milvus.layout import CURRENT
from cxrclient.archive.parquet import export_parquet
from cxrclient.cli.app import app
from cxrclient.errors import ArchiveInput, ArchiveUnavailable
from cxrclient.runs.migration import take_over
from small_archives import MODEL, embeddings, filled, flip, row_of

SECRET = "a secret of this test"
FILMS = 20


@pytest.fixture
def check(uri, monkeypatch) -> Callable[..., Result]:
    monkeypatch.setenv("CXR_PATIENT_KEY", SECRET)
    return lambda *options: CliRunner().invoke(
        app, ["archive", "verify", "--uri", str(uri), *options]
    )


def ids(uri: Path) -> set[str]:
    with SimilarityIndex(uri, model_digest=None) as index:
        return {film.id for film in index.films()}


# The film, what is written in its row, the byte of that, and the bit of the byte.
FLIPPED = [
    ("1.2.5", b"patient_key", 0, 5),  # a field's name
    ("1.2.7", b"\x12\x02id", 1, 1),  # a length
    ("1.2.11", b"1.2.11", 4, 1),  # the id
    ("1.2.13", b"\x12\tTimestamp", 0, 0),  # what follows is of another kind
]


def test_rows_that_flipped_bits_make_unreadable_are_found_and_taken_out(uri, check) -> None:
    filled(uri)
    rows = {film_id: row_of(uri, film_id) for film_id, *_ in FLIPPED}
    for film_id, text, at, bit in FLIPPED:
        flip(uri, rows[film_id], rows[film_id].index(text) + at, bit)
    (found,) = json.loads(check("--json").stdout)["problems"]
    assert (found["code"], set(found["ids"])) == ("UNREADABLE_ROW", set(rows))
    with pytest.raises(ArchiveUnavailable, match="archive verify"):
        SimilarityIndex(uri, model_digest=None)
    mended = check("--mend")
    assert (mended.exit_code, "taken out" in mended.stdout) == (0, True), mended.output
    assert ids(uri) == {f"1.2.{n}" for n in range(FILMS)} - set(rows)
    assert b"1.2.13" not in uri.read_bytes()


@pytest.mark.parametrize(
    ("text", "at", "bit"),
    [
        (embeddings(FILMS)[7].tobytes(), 40, 3),  # a number of the embedding
        (b"key3", 3, 0),  # whose film it is
    ],
)
def test_a_flipped_bit_in_what_is_known_of_a_film_is_found_by_its_checksum(
    uri, check, tmp_path, text, at, bit
) -> None:
    vectors = filled(uri)
    row = row_of(uri, "1.2.7")
    flip(uri, row, row.index(text) + at, bit)
    found = json.loads(check("--json").stdout)["problems"]
    assert [(fault["code"], fault["ids"]) for fault in found] == [("BITS_FLIPPED", ["1.2.7"])]
    with (
        SimilarityIndex(uri, model_digest=None) as index,
        SimilarityIndex(uri, model_digest="b" * 64, collection=f"cxr_films_{'b' * 12}") as copy,
    ):
        with pytest.raises(ArchiveInput, match="checksum"):
            export_parquet(index, tmp_path / "cxr.parquet")
        with pytest.raises(ArchiveInput, match="checksum"):
            list(take_over(index, copy))
    assert check("--mend").exit_code == 3  # the copy that was begun is of another model
    assert ids(uri) == {f"1.2.{n}" for n in range(FILMS) if n != 7}
    with SimilarityIndex(uri, model_digest=None) as index:
        assert index.search(vectors[8], 1)[0].id == "1.2.8"


def test_a_row_found_under_another_id_than_its_own_is_taken_out(uri, check) -> None:
    filled(uri)
    with sqlite3.connect(uri) as database:
        database.execute("UPDATE cxr_films SET milvus_id = '1.2.x' WHERE milvus_id = '1.2.7'")
    assert json.loads(check("--json").stdout)["problems"][0]["ids"] == ["1.2.x"]
    assert check("--mend").exit_code == 0
    assert "1.2.7" not in ids(uri)


def test_a_file_that_is_damaged_as_a_whole_asks_for_a_backup(uri, check) -> None:
    filled(uri, 200)
    with sqlite3.connect(uri) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'cxr_films'"
        ).fetchone()
    data = bytearray(uri.read_bytes())
    data[(page - 1) * size + 3] ^= 1 << 6  # how many rows the page has
    uri.write_bytes(data)
    result = check("--mend")
    assert (result.exit_code, "UNREADABLE_FILE" in result.stdout) == (3, True)
    assert "backup" in result.stdout
    removed = CliRunner().invoke(
        app, ["archive", "remove", "--patient", "4711", "--yes", "--uri", str(uri)]
    )
    assert (removed.exit_code, "backup" in removed.stderr) == (1, True), removed.output


def put(index: SimilarityIndex, film_id: str, vector: np.ndarray, **about: object) -> None:
    """As another program would, past all checks."""
    row = {"id": film_id, "embedding": vector, "label": "", "label_source": "",
           "patient_key": "", "probability": -1.0, **CURRENT.split({})}  # fmt: skip
    index._store._open.insert(index.collection, [row | about])


def test_films_that_cannot_be_used_are_taken_out_and_named(uri, check) -> None:
    filled(uri)
    bad = embeddings(3, seed=9)
    bad[0, 7] = np.nan
    bad[1] = 0
    with SimilarityIndex(uri, model_digest=None) as index:
        for film_id, vector in zip(("9.nan", "9.zero", "9 bad"), bad, strict=True):
            put(index, film_id, vector)
    result = check("--mend", "--json")
    record = json.loads(result.stdout)
    assert (result.exit_code, record["films"], record["problems"]) == (0, FILMS, [])
    assert {tuple(done["ids"]) for done in record["mended"]} == {
        ("9.nan",),
        ("9.zero",),
        ("9 bad",),
    }
    assert b"9.nan" not in uri.read_bytes()


def test_of_films_with_one_id_one_is_left(uri, check) -> None:
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=None) as index:
        put(index, "1.2.3", vectors[3] + 1)
        assert len(index) == FILMS + 1
    assert check("--mend").exit_code == 0
    with SimilarityIndex(uri, model_digest=None) as index:
        assert (len(index), len(index.known(["1.2.3"]))) == (FILMS, 1)


def test_uids_in_clear_are_hashed_by_the_archives_key(uri, check) -> None:
    key = SECRET.encode()
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        bind_key(index, key)
        clear = {"study_uid": "9.8.7.6.5", "label": "a"}
        hidden = {"study_uid": hashed_uid("9.8.7.6.5", key), "label": "b"}
        rows = [hidden, hidden, clear]
        named = [hashed_uid("1.2.1", key), hashed_uid("1.2.2", key), "1.2.3"]
        index.add(named, embeddings(3), rows)
    assert check().exit_code == 3
    assert check("--mend").exit_code == 0
    assert ids(uri) == {hashed_uid(f"1.2.{n}", key) for n in (1, 2, 3)}
    assert b"9.8.7.6.5" not in uri.read_bytes()


def test_an_index_that_has_lost_films_is_built_anew(uri) -> None:
    filled(uri)
    with SimilarityIndex(uri, model_digest=None) as index:
        nearest, build = index._store.nearest, index._store.build_index
        built = []
        index._store.nearest = lambda c, v, *rest: nearest(c, v if built else v + 5, *rest)
        index._store.build_index = lambda *about: (built.append(about), build(*about))
        assert [done.code for done in mend(index, verify(index))] == ["NOT_FOUND"]
        assert verify(index) == []


def test_two_films_with_one_embedding_stay(uri, check) -> None:
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=None) as index:
        index.add(["9.same"], vectors[:1], [{}])
    result = check("--mend")
    assert (result.exit_code, "SAME_VECTOR" in result.stdout) == (3, True)
    assert len(ids(uri)) == FILMS + 1
