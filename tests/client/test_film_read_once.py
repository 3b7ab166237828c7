"""A film's file is opened once, by whatever is done with the film."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrclient import CxrClient, SimilarityIndex, read_film
from cxrclient.archive.identity import patient_key
from cxrclient.archive.own import own_films
from cxrclient.cli.app import app
from cxrclient.errors import FilmError, UsageError
from cxrclient.films import Film, FilmSearch
from cxrclient.pages import FilmFolder, png_bytes
from cxrclient.runs import file_identity
from film_opens import opens_in

KEY = "a secret of this test"
NAMES = ("0.dcm", "1.dcm", "2")  # the last is known by its first bytes only
UID = "1.2.840.4711."
ONCE = dict.fromkeys(NAMES, 1)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")


@pytest.fixture
def films(
    tmp_path: Path, drawn_film: Callable[..., np.ndarray], write_dicom: Callable[..., Path]
) -> Path:
    """A folder of three films, each of another patient."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        pixels = drawn_film(number)
        write_dicom(folder / name, pixels, SOPInstanceUID=UID + str(number), PatientID=f"P{number}")
    return folder


@pytest.fixture
def run(triton_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command on an archive, which must end with a `code`; returns what it said."""
    monkeypatch.setenv("CXR_PATIENT_KEY", KEY)
    monkeypatch.setenv("CXR_SERVER", triton_server.grpc_address)

    def command(*words: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*map(str, words), "--uri", str(tmp_path / "cxr.db")])
        assert done.exit_code == code, done.output
        return done.output

    return command


def test_opening_a_file_twice_is_counted_twice(films: Path) -> None:
    """Without this, the rest could prove nothing."""
    with opens_in(films) as counts:
        read_film(films / "1.dcm")
        read_film(films / "1.dcm")
        (films / "2").stat()
    assert counts == {"1.dcm": 2}


def test_index_opens_each_film_once_also_where_it_asks_the_archive_first(
    films: Path, run: Callable[..., str], tmp_path: Path
) -> None:
    new = films / "2"
    aside = new.rename(tmp_path / "aside")
    with opens_in(films) as counts:
        run("index", films, "--no-gate")
    assert counts == {"0.dcm": 1, "1.dcm": 1}
    aside.rename(new)
    (tmp_path / "cxr.db.journal").unlink()
    with opens_in(films) as counts:
        said = run("index", films, "--no-gate", "--resume")
    assert counts == ONCE
    assert "1 added, 2 already there" in said


def test_a_film_that_is_damaged_is_opened_once_too(films: Path, run: Callable[..., str]) -> None:
    (films / "0.dcm").write_bytes(b"")
    with opens_in(films) as counts:
        said = run("index", films, "--no-gate", "--resume", code=3)
    assert counts == ONCE
    assert "0.dcm: NOT_READABLE" in said


def test_report_and_similar_open_the_film_once_and_each_neighbour_once_for_its_picture(
    films: Path, run: Callable[..., str], tmp_path: Path, write_dicom: Callable[..., Path]
) -> None:
    run("index", films, "--no-gate")
    asked = tmp_path / "asked"
    asked.mkdir()
    query = write_dicom(
        asked / "query.dcm", SOPInstanceUID=UID + "9", PatientSex="F", PatientID="P0"
    )
    page = tmp_path / "page.html"
    pictures = ("--no-gate", "--html", page, "--archive-films", films)
    for command in ("report", "similar"):
        with opens_in(asked) as of_query, opens_in(films) as of_neighbours:
            run(command, query, *pictures)
        assert of_query == {"query.dcm": 1}
        assert of_neighbours == ONCE
        text = page.read_text()
        assert "<dt>sex</dt><dd>F</dd>" in text
        shown = [UID + str(number) in text for number in range(3)]
        assert shown == [False, True, True]  # the first is of the query's own patient
        assert "No picture" not in text


@pytest.mark.parametrize("query", NAMES)
@pytest.mark.parametrize("command", ["report", "similar"])
def test_a_query_among_the_films_of_the_archive_is_opened_once_too(
    command: str, query: str, films: Path, run: Callable[..., str], tmp_path: Path
) -> None:
    run("index", films, "--no-gate")
    page = tmp_path / "page.html"
    with opens_in(films) as counts:
        run(command, films / query, "--no-gate", "--html", page, "--archive-films", films)
    assert counts == ONCE
    assert "No picture" not in page.read_text()


@pytest.mark.parametrize("linked", [False, True])
def test_films_of_the_archive_that_are_all_asked_for_are_opened_once(
    linked: bool, films: Path, run: Callable[..., str], tmp_path: Path
) -> None:
    run("index", films, "--no-gate")
    asked = films
    if linked:
        asked = tmp_path / "asked"
        asked.mkdir()
        for name in NAMES:
            (asked / name).symlink_to(films / name)
    page = tmp_path / "page.html"
    with opens_in(films) as counts:
        run("report", asked, "--no-gate", "--html", page, "--archive-films", films)
    assert counts == ONCE
    assert "No picture" not in page.read_text()


def test_a_file_that_was_passed_is_not_opened_again_for_a_later_question(films: Path) -> None:
    with opens_in(films) as counts:
        folder = FilmFolder(films)
        for asked in (UID + "2", UID + "0", UID + "1"):
            ((found, film),) = folder.find([asked])
            if isinstance(film, str):
                film = read_film(film)
            assert isinstance(film, Film)
            assert (film.film_id, film.path) == (found, str(films / NAMES[int(asked[-1])]))
    assert counts == ONCE


def test_pictures_and_files_without_a_suffix_are_opened_once_and_our_own_are_passed_over(
    films: Path, run: Callable[..., str], tmp_path: Path
) -> None:
    Image.linear_gradient("L").save(films / "3.png")
    (films / "4.png").write_bytes(png_bytes(Image.new("L", (64, 64), 7)))
    (films / "5").write_text("no film")
    once = {**ONCE, "3.png": 1, "4.png": 1, "5": 1}
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("image,label\n2,covid\n")
    for command in (("index", "--metadata", metadata), ("index", "--resume")):
        with opens_in(films) as counts:
            run(*command, films, "--no-gate")
        assert counts == once
        (tmp_path / "cxr.db.journal").unlink()


def open_below(folder: Path) -> int:
    """How many files of a folder this process has open, whatever else it opens and closes."""
    held = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            held += link.readlink().is_relative_to(folder)
    return held


def test_only_the_last_files_are_held_open(
    tmp_path: Path, write_dicom: Callable[..., Path]
) -> None:
    content = write_dicom(tmp_path / "0").read_bytes()
    for number in range(1, 100):
        (tmp_path / str(number)).write_bytes(content)
    search = FilmSearch([str(tmp_path)])
    found = list(search)
    assert len(found) == 100
    assert open_below(tmp_path) == 64
    assert {film.film_id for film in map(read_film, found)} == {read_film(content).film_id}
    del search, found
    assert open_below(tmp_path) == 0


def test_of_more_files_than_are_held_open_the_first_are_opened_twice(tmp_path: Path) -> None:
    for number in range(70):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number:02}", "PNG")
    with opens_in(tmp_path) as counts:
        for film in list(FilmSearch([str(tmp_path)])):  # as `index --metadata` finds them
            read_film(film)
    assert counts == {f"{number:02}": 2 if number < 6 else 1 for number in range(70)}


def test_a_file_that_is_replaced_after_it_was_found_is_known_by_what_is_read(
    films: Path, tmp_path: Path
) -> None:
    found = next(film for film in FilmSearch([str(films)]) if film == str(films / "2"))
    before = file_identity(str(found))
    (tmp_path / "other").write_bytes((films / "0.dcm").read_bytes() + bytes(1000))
    (tmp_path / "other").replace(films / "2")
    assert file_identity(found) == before
    assert read_film(found).film_id == UID + "2"
    assert file_identity(found) != before


def test_report_of_the_archives_own_films_opens_each_once(
    films: Path, run: Callable[..., str], tmp_path: Path
) -> None:
    run("index", films, "--no-gate")
    with opens_in(films) as counts:
        run("report", films, "--no-gate", "--html", tmp_path / "page.html")
    assert counts == ONCE


def test_migrate_opens_each_film_once(films: Path, run: Callable[..., str], tmp_path: Path) -> None:
    with SimilarityIndex(tmp_path / "cxr.db", model_digest="a" * 64) as old:
        old.add([UID + str(n) for n in range(3)], np.eye(3, 128, dtype=np.float32), [{}] * 3)
    with opens_in(films) as counts:
        said = run("archive", "migrate", films, "--no-gate")
    assert counts == ONCE
    assert "3 films predicted again" in said


# --- what was read is what is sent ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "bytes", "film"])
def test_a_predictions_film_is_known_however_it_was_given(
    kind: str, films: Path, triton_server: Any, run: Callable[..., str], tmp_path: Path
) -> None:
    """So the neighbours of a film that was dropped on a page leave its patient out too."""
    run("index", films / "0.dcm", "--no-gate")
    path = films / "1.dcm"
    given = {"path": path, "bytes": path.read_bytes(), "film": read_film(path)}[kind]
    with (
        CxrClient(triton_server.grpc_address, gate=False) as cxr,
        SimilarityIndex(tmp_path / "cxr.db", model_digest=cxr.model.digest) as archive,
    ):
        prediction = cxr.predict(given)
        own = own_films(archive, prediction)
    assert prediction.path == (None if kind == "bytes" else str(path))
    assert prediction.film is not None
    assert (prediction.film.film_id, prediction.film.patient_id) == (UID + "1", "P1")
    assert prediction.film.payload == b""  # a run of many films holds no pixels
    assert (own.patients, own.doubt) == ({patient_key("P1", KEY.encode())}, None)


def test_a_film_without_its_payload_is_not_sent(films: Path, triton_server: Any) -> None:
    with CxrClient(triton_server.grpc_address, gate=False) as cxr:
        film = cxr.predict(films / "0.dcm").film
        assert film is not None
        with pytest.raises(UsageError, match="object of type Film"):
            cxr.predict(film)


def test_a_film_that_the_server_turns_away_is_known_too(films: Path, triton_server: Any) -> None:
    film = replace(read_film(films / "0.dcm"), payload=b"no film")
    with CxrClient(triton_server.grpc_address) as cxr, pytest.raises(FilmError) as raised:
        cxr.predict(film)
    error = raised.value
    assert (error.code, error.path) == ("NOT_READABLE", str(films / "0.dcm"))
    assert error.film.patient_id == "P0"
    assert error.film.payload == b""
