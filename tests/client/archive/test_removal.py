"""`cxrclient archive remove`: what is gone is gone, from searches and from the bytes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxrclient.archive.archive_key import bind_key
from cxrclient.archive.identity import hashed_uid, patient_key
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus import erasure
from cxrclient.archive.milvus.filters import one_of
from cxrclient.cli.app import app
from cxrclient.runs.index_journal import IndexJournal, journal_path
from cxrclient.runs.journal import Conditions, FileIdentity
from small_archives import MODEL, embeddings, flip, row_of

SECRET = "a secret of this test"
KEY = SECRET.encode()
FILMS = 12
NUMBERS = [f"4711-{n // 3}" for n in range(FILMS)]
"""Three films a patient."""


def film_id(n: int) -> str:
    return f"1.2.840.{n:03}.9"


def fill(
    uri: Path,
    *,
    collection: str = "cxr_films",
    model: str = MODEL,
    issuer: str | None = None,
    hashed: bool = False,
) -> None:
    with SimilarityIndex(uri, model_digest=model, collection=collection) as index:
        bind_key(index, KEY)
        ids = [hashed_uid(film_id(n), KEY) if hashed else film_id(n) for n in range(FILMS)]
        rows = [
            {
                "patient_key": patient_key(NUMBERS[n], KEY, issuer if n % 3 == 2 else None),
                "label": "ab"[n % 2],
                "study_uid": f"9.8.7.{n:03}.6",
                "treatment": ("oxygen", "none")[n % 2],
            }
            for n in range(FILMS)
        ]
        index.add(ids, embeddings(FILMS), rows)
    path = journal_path(str(uri))
    journal = IndexJournal(path, Conditions(model, True), KEY)
    seen = FileIdentity(1, 2)
    journal.stored((f"/films/{n}.dcm", seen, None, ids[n]) for n in range(FILMS))
    journal.close()


def left(uri: Path) -> list[str]:
    with SimilarityIndex(uri, model_digest=None) as index:
        return [film.id for film in index.films()]


def kept_files(uri: Path) -> list[str]:
    with sqlite3.connect(journal_path(str(uri))) as database:
        return sorted(row[0] for row in database.execute("SELECT film_id FROM film"))


def times(uri: Path, text: str) -> tuple[int, int]:
    """How often the bytes of the archive's file, and of its journal, have a text."""
    journal = journal_path(str(uri))
    return tuple(path.read_bytes().count(text.encode()) for path in (uri, journal))


@pytest.fixture
def remove(uri, monkeypatch) -> Callable[..., Result]:
    monkeypatch.setenv("CXR_PATIENT_KEY", SECRET)
    return lambda *options, **settings: CliRunner().invoke(
        app, ["archive", "remove", "--uri", str(uri), *options], **settings
    )


def test_of_a_removed_patient_no_byte_is_left(uri, remove) -> None:
    fill(uri)
    key = patient_key(NUMBERS[3], KEY)
    mine = [film_id(n) for n in (3, 4, 5)]
    study = "9.8.7.004.6"
    assert all(times(uri, one)[0] and times(uri, one)[1] for one in mine)
    assert times(uri, key)[0] >= 3
    result = remove("--patient", NUMBERS[3], "--yes")
    assert (result.exit_code, "3 films removed, 9 left" in result.output) == (0, True)
    assert [times(uri, text) for text in (*mine, key, study)] == [(0, 0)] * 5
    assert left(uri) == [film_id(n) for n in range(FILMS) if n not in (3, 4, 5)]
    assert kept_files(uri) == left(uri)
    assert times(uri, film_id(6))[0] > 0


@pytest.mark.parametrize(
    ("field", "code"),
    [("id", "UNREADABLE_ROW"), ("patient_key", "BITS_FLIPPED")],
)
@pytest.mark.parametrize("way", ["--patient", "--filter"])
def test_damaged_rows_that_may_be_the_patients_are_no_success(
    uri, remove, field, code, way
) -> None:
    fill(uri)
    key = patient_key(NUMBERS[3], KEY)
    row = row_of(uri, film_id(4))
    text = (film_id(4) if field == "id" else key).encode()
    flip(uri, row, row.index(text) + 7, 1)
    asked = {"--patient": NUMBERS[3], "--filter": f'patient_key == "{key}"'}[way]
    result = remove(way, asked, "--yes")
    assert result.exit_code == 3, result.output
    assert "1 damaged row may be" in result.stderr
    assert "archive verify --mend" in result.stderr
    assert not {film_id(3), film_id(5)} & set(left(uri))
    mended = CliRunner().invoke(app, ["archive", "verify", "--mend", "--uri", str(uri)])
    assert (mended.exit_code, code in mended.stdout) == (0, True), mended.output
    assert [times(uri, one) for one in (key, film_id(4))] == [(0, 0)] * 2
    assert remove("--filter", 'label == "a"', "--yes").exit_code == 0


def test_a_damaged_film_that_is_removed_itself_is_success(uri, remove) -> None:
    fill(uri)
    row = row_of(uri, film_id(4))
    flip(uri, row, row.index(embeddings(FILMS)[4].tobytes()) + 40, 1)
    result = remove("--patient", NUMBERS[3], "--yes")
    assert (result.exit_code, "3 films removed" in result.output) == (0, True), result.output


def test_a_row_with_a_flipped_id_is_not_removed_by_that_id(uri, remove) -> None:
    fill(uri)
    row = row_of(uri, film_id(4))
    flip(uri, row, row.index(film_id(4).encode()) + 7, 1)
    wrong = film_id(4)[:7] + chr(ord(film_id(4)[7]) ^ 2) + film_id(4)[8:]
    for one in (wrong, film_id(4)):
        result = remove("--id", one, "--yes")
        assert (result.exit_code, "--mend" in result.stderr) == (3, True), result.output


def test_the_films_of_the_model_before_are_removed_too(uri, remove) -> None:
    fill(uri)
    fill(uri, model="b" * 64, collection=f"cxr_films_{'b' * 12}")
    assert remove("--id", film_id(4), "--yes").exit_code == 0
    assert times(uri, film_id(4)) == (0, 0)
    with SimilarityIndex(uri, model_digest="b" * 64, collection=f"cxr_films_{'b' * 12}") as old:
        assert len(old) == FILMS - 1


def test_who_issued_the_number_is_part_of_the_patient(uri, remove) -> None:
    fill(uri, issuer="HOSPITAL")
    asked = remove("--patient", NUMBERS[0], input="n\n").stderr
    assert 0 < asked.index("give each with --issuer") < asked.index("for good?")
    some = remove("--patient", NUMBERS[0], "--yes")
    assert (some.exit_code, "give each with --issuer" in some.stderr) == (0, True)
    assert film_id(2) in left(uri)
    listed = CliRunner().invoke(
        app, ["archive", "list", "--patient", NUMBERS[0], "--uri", str(uri)]
    )
    assert (listed.exit_code, "give each with --issuer" in listed.stderr) == (0, True)
    alone = remove("--patient", NUMBERS[0], "--yes")
    assert (alone.exit_code, "--issuer" in alone.stderr) == (3, True)
    assert (
        remove("--patient", "-", "--issuer", "HOSPITAL", "--yes", input=NUMBERS[0]).exit_code == 0
    )
    assert left(uri) == [film_id(n) for n in range(3, FILMS)]


def test_it_asks_first_and_no_is_no(uri, remove) -> None:
    fill(uri)
    result = remove("--filter", 'treatment == "oxygen"', input="n\n")
    assert (result.exit_code, film_id(10) in result.stderr) == (1, True)
    assert len(left(uri)) == FILMS
    assert remove("--filter", 'treatment == "oxygen"', input="y\n").exit_code == 0
    assert left(uri) == [film_id(n) for n in range(1, FILMS, 2)]


def test_a_value_before_its_column_removes_the_films_that_have_it(uri, remove) -> None:
    fill(uri)
    assert remove("--filter", '"oxygen" == treatment', "--yes").exit_code == 0
    assert left(uri) == [film_id(n) for n in range(1, FILMS, 2)]


def test_without_an_answer_nothing_is_removed(uri, remove) -> None:
    fill(uri)
    assert remove("--id", film_id(1)).exit_code == 1
    assert len(left(uri)) == FILMS


def test_films_that_are_not_there_are_said_and_the_others_removed(uri, remove) -> None:
    fill(uri)
    result = remove("--id", "9.9.9", "--id", film_id(1), "--yes")
    assert (result.exit_code, "no film 9.9.9" in result.stderr) == (3, True)
    assert film_id(1) not in left(uri)
    assert f"1 film removed, {FILMS - 1} left" in result.stdout


def test_a_plain_uid_names_its_hash(uri, remove) -> None:
    fill(uri, hashed=True)
    assert remove("--id", film_id(1), "--yes").exit_code == 0
    assert len(left(uri)) == FILMS - 1
    assert times(uri, hashed_uid(film_id(1), KEY)) == (0, 0)
    assert "no film nope in" in remove("--id", "nope", "--yes").stderr
    assert remove("--filter", 'label in ["a", "b"]', "--yes").exit_code == 0
    stats = CliRunner().invoke(app, ["archive", "stats", "--uri", str(uri)])
    assert (stats.exit_code, "in clear" in stats.stdout) == (0, False), stats.output


def test_what_an_interrupted_removal_left_is_erased_by_the_next(uri, remove) -> None:
    fill(uri)
    with SimilarityIndex(uri, model_digest=None) as index:
        erasure.delete(index._store, index.collection, one_of("id", [film_id(5)]))
    assert times(uri, film_id(5))[0] > 0
    assert remove("--id", film_id(5), "--yes").exit_code == 3
    assert times(uri, film_id(5)) == (0, 0)


KILLED = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 2")  # so that what is changed goes to the disk at once
database.execute("BEGIN")
database.execute("UPDATE cxr_films SET data = zeroblob(length(data))")
os.kill(os.getpid(), 9)
"""


def test_killed_while_the_file_is_rewritten_the_archive_is_whole(uri, remove) -> None:
    fill(uri)
    before = uri.read_bytes()
    subprocess.run([sys.executable, "-c", KILLED, str(uri)])
    assert uri.read_bytes() != before
    assert remove("--id", film_id(5), "--yes").exit_code == 0
    assert left(uri) == [film_id(n) for n in range(FILMS) if n != 5]


def test_an_open_archive_goes_on_after_a_removal(uri) -> None:
    from cxrclient.archive.removal import remove

    fill(uri)
    with (
        SimilarityIndex(uri, model_digest=None) as index,
        SimilarityIndex(uri, model_digest=None) as other,
    ):
        assert remove(index, [film_id(0), film_id(1)]) == 2
        assert film_id(2) in {film.id for film in other.search(embeddings(FILMS)[2], 3)}
        index.add([film_id(0)], embeddings(1), [{}])
        assert len(other) == FILMS - 1


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--id", "1", "--patient", "2"),
        ("--patient", " "),
        ("--filter", "treatmnet == 3"),
        ("--filter", "age >"),
        ("--filter", 'treatment == "oxigen"'),
        ("--filter", 'treatment == "oxigen" or label == "b"'),
        ("--filter", 'treatment != "oxigen"'),
        ("--filter", 'label == "b" or age > 3'),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(uri, remove, options) -> None:
    fill(uri)
    result = remove(*options, "--yes")
    assert result.exit_code == 2
    assert ("oxigen" in str(options)) == ("The nearest is oxygen; there" in result.stderr)
    assert len(left(uri)) == FILMS


def test_a_filter_whose_films_are_gone_erases_what_an_interrupted_removal_left(uri, remove) -> None:
    fill(uri)
    row = row_of(uri, film_id(5))
    flip(uri, row, row.index(film_id(5).encode()) + 7, 1)
    with SimilarityIndex(uri, model_digest=None) as index:
        erasure.delete(index._store, index.collection, 'metadata["treatment"] == "oxygen"')
    assert times(uri, film_id(2))[0] > 0
    result = remove("--filter", 'treatment == "oxygen"', "--yes")
    assert (result.exit_code, "has 1 damaged row, which may" in result.stderr) == (2, True)
    assert times(uri, film_id(2))[0] == 0


def test_conditions_that_no_film_meets_together_are_no_wrong_usage(uri, remove) -> None:
    fill(uri)
    result = remove("--filter", 'treatment == "oxygen" and label == "b"', "--yes")
    assert (result.exit_code, f"0 films removed, {FILMS} left" in result.stdout) == (3, True)


def test_another_key_finds_nobody(uri, remove, monkeypatch) -> None:
    fill(uri)
    monkeypatch.setenv("CXR_PATIENT_KEY", "another secret of this test")
    result = remove("--patient", NUMBERS[0], "--yes")
    assert (result.exit_code, "KEY_MISMATCH" in result.stderr) == (2, True)
