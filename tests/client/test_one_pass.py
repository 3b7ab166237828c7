"""One run gives results, pictures, archive and page: each film is opened and predicted once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxrclient import SimilarityIndex
from cxrclient.cli.app import app
from cxrclient.wire.connection import Connection
from film_opens import opens_in
from predict_command import COMMAND, HANG_S

UID = "1.2.840.4712."
N_FILMS = 5

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")


@pytest.fixture(scope="module")
def films(
    tmp_path_factory: pytest.TempPathFactory,
    drawn_film: Callable[..., Any],
    write_dicom: Callable[..., Path],
) -> Path:
    """A folder of five films, each of another patient."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(N_FILMS):
        write_dicom(
            folder / f"{number}.dcm",
            drawn_film(number),
            SOPInstanceUID=f"{UID}{number}",
            PatientID=f"P{number}",
            PatientSex="F",
        )
    return folder


@pytest.fixture
def run(triton_server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("CXR_PATIENT_KEY", "a secret of this test")
    monkeypatch.setenv("CXR_SERVER", triton_server.grpc_address)

    def command(*words: object, code: int = 0) -> Result:
        done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done

    return command


@pytest.fixture
def inferences(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many films were sent so far. The server answers first and counts then."""
    sent: list[Any] = []
    real = Connection.infer

    async def counted(self: Connection, *arguments: Any) -> bytes:
        sent.append(arguments)
        return await real(self, *arguments)

    monkeypatch.setattr(Connection, "infer", counted)
    return lambda: len(sent)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_predict_gives_every_output_from_one_inference_and_one_opening_a_film(
    films: Path, run: Callable[..., Result], inferences: Callable[[], int], tmp_path: Path
) -> None:
    metadata = tmp_path / "known.csv"
    metadata.write_text("image,label\n0.dcm,covid\n")
    results, page, uri = tmp_path / "r.jsonl", tmp_path / "page.html", tmp_path / "cxr.db"
    before = inferences()
    with opens_in(films) as counts:
        done = run(
            *("predict", films, "--no-gate", "--output", results, "--index", uri),
            *("--metadata", metadata, "--masks", tmp_path / "masks"),
            *("--overlays", tmp_path / "overlays", "--html", page, "--archive-films", films),
            *("--summary", tmp_path / "summary.json"),
        )
    assert inferences() - before == N_FILMS
    assert counts == {f"{number}.dcm": 1 for number in range(N_FILMS)}
    assert f"{uri}: 5 added, 0 already there" in done.stderr
    stored = lines(results)
    assert [line["film_id"] for line in stored] == [f"{UID}{n}" for n in range(N_FILMS)]
    assert all(Path(line[kind]).is_file() for line in stored for kind in ("mask", "overlay"))
    with SimilarityIndex(uri, model_digest=None) as archive:
        films_there = {film.id: film for film in archive.films()}
    assert set(films_there) == {line["film_id"] for line in stored}
    assert films_there[f"{UID}0"].label == "covid"
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["archive"]["added"] == told["films"]["ok"] == N_FILMS
    text = page.read_text()
    assert text.count('alt="Nearest film') == N_FILMS * (N_FILMS - 1)  # k is 4, each with a picture
    assert "No picture" not in text


def test_report_and_similar_predict_no_neighbour_twice(
    films: Path, run: Callable[..., Result], inferences: Callable[[], int], tmp_path: Path
) -> None:
    uri, page = tmp_path / "cxr.db", tmp_path / "page.html"
    run("index", films, "--no-gate", "--uri", uri)
    before = inferences()
    with opens_in(films) as counts:
        run("report", films, "--no-gate", "--html", page, "--uri", uri, "--archive-films", films)
    assert inferences() - before == N_FILMS
    assert counts == {f"{number}.dcm": 1 for number in range(N_FILMS)}
    assert page.read_text().count('alt="Nearest film') == N_FILMS * (N_FILMS - 1)


def test_neighbours_of_earlier_runs_are_not_predicted_where_their_maps_are_kept(
    films: Path, run: Callable[..., Result], inferences: Callable[[], int], tmp_path: Path
) -> None:
    uri, maps, page = tmp_path / "cxr.db", tmp_path / "maps", tmp_path / "page.html"
    results = tmp_path / "r.jsonl"
    run("predict", films, "--no-gate", "--output", results, "--maps", maps, "--index", uri)
    ask = (films / "0.dcm", "--no-gate", "--html", page, "--uri", uri, "--archive-maps", maps)
    for command in ("report", "similar"):
        before = inferences()
        run(command, *ask)
        assert inferences() - before == 1
        assert page.read_text().count('alt="Nearest film') == N_FILMS - 1
        page.unlink()
    # A map of another model is no picture of this one's.
    for stored in maps.iterdir():
        with np.load(stored) as told:
            changed = dict(told) | {"model": np.array("a" * 64)}
        np.savez(stored, **changed)
    run("report", *ask)
    assert 'alt="Nearest film' not in page.read_text()


def test_a_resumed_run_puts_into_the_archive_what_an_earlier_one_did_not(
    films: Path, run: Callable[..., Result], inferences: Callable[[], int], tmp_path: Path
) -> None:
    """As after a kill -9 between a film's line and its batch."""
    results, uri = tmp_path / "r.jsonl", tmp_path / "cxr.db"
    run("predict", films, "--no-gate", "--output", results)
    run("index", films / "0.dcm", films / "1.dcm", "--no-gate", "--uri", uri)
    before = inferences()
    done = run("predict", films, "--no-gate", "--output", results, "--resume", "--index", uri)
    assert inferences() - before == N_FILMS - 2
    assert "3 not in the archive" in done.stderr
    assert len(lines(results)) == N_FILMS
    with SimilarityIndex(uri, model_digest=None) as archive:
        assert len(archive) == N_FILMS


def test_a_resumed_run_knows_the_films_of_a_zip_and_what_is_wrong_with_it(
    films: Path, run: Callable[..., Result], inferences: Callable[[], int], tmp_path: Path
) -> None:
    pile, results = tmp_path / "pile.zip", tmp_path / "r.jsonl"
    with zipfile.ZipFile(pile, "w") as packed:
        packed.write(films / "0.dcm", "a/0.dcm")
        packed.writestr("../out.dcm", b"no film")
    ask = ("predict", pile, "--no-gate", "--output", results)
    run(*ask, code=3)
    assert [line["path"] for line in lines(results)] == [str(pile), f"{pile}/a/0.dcm"]
    before = inferences()
    run(*ask, "--resume", code=3)
    assert (inferences(), len(lines(results))) == (before, 2)
    with zipfile.ZipFile(pile, "a") as packed:
        packed.write(films / "1.dcm", "a/1.dcm")
    run(*ask, "--resume", code=3)
    assert (inferences() - before, len(lines(results))) == (2, 3)


def test_index_and_report_from_stored_results_predict_nothing(
    films: Path, run: Callable[..., Result], inferences: Callable[[], int], tmp_path: Path
) -> None:
    results, direct, stored = tmp_path / "r.jsonl", tmp_path / "a.db", tmp_path / "b.db"
    here = tmp_path / "films"
    shutil.copytree(films, here)
    (here / "9.dcm").write_bytes(b"no film")
    keep = ("--embeddings", "--maps", tmp_path / "maps")
    run("predict", here, "--no-gate", "--output", results, *keep, "--index", direct, code=3)
    before = inferences()
    done = run("index", "--results", results, "--uri", stored, code=3)
    assert "9.dcm: NOT_READABLE" in done.stderr
    both = []
    for uri in (direct, stored):
        with SimilarityIndex(uri, model_digest=None) as archive:
            both.append({f.id: (f.about(), f.embedding.tolist()) for f in archive.films()})
    assert both[0] == both[1]
    page = tmp_path / "page.html"
    run("report", "--results", results, "--html", page, "--uri", stored, code=3)
    assert inferences() == before
    text = page.read_text()
    assert text.count('alt="Nearest film') == N_FILMS * (N_FILMS - 1)
    assert "<dt>sex</dt><dd>F</dd>" in text
    # A file that is another one by now says nothing of whose film was predicted.
    (here / "0.dcm").write_bytes(b"another")
    (here / "1.dcm").unlink()
    metadata = tmp_path / "known.csv"
    metadata.write_text("image,patient_id\n1.dcm,P1\n")
    third = tmp_path / "c.db"
    known = ("--metadata", metadata)
    done = run("index", "--results", results, "--uri", third, *known, code=3)
    assert "0.dcm: FILE_CHANGED" in done.stderr
    with SimilarityIndex(third, model_digest=None) as archive:
        assert {film.id for film in archive.films()} == {f"{UID}{n}" for n in range(1, N_FILMS)}


def test_results_without_what_is_needed_say_so_before_anything_else(
    films: Path, run: Callable[..., Result], tmp_path: Path
) -> None:
    results = tmp_path / "r.jsonl"
    run("predict", films / "0.dcm", "--no-gate", "--output", results)
    done = run("index", "--results", results, "--uri", tmp_path / "cxr.db", code=2)
    assert "1 of 1 films" in done.stderr
    assert "predict them with `--embeddings`" in done.stderr
    done = run("report", "--results", results, "--html", tmp_path / "page.html", code=2)
    assert "predict them with `--maps`" in done.stderr
    assert not (tmp_path / "cxr.db").exists()
    films_too = ("index", films, "--results", results, "--uri", tmp_path / "cxr.db")
    assert "not both" in run(*films_too, code=2).stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--embeddings",), "need results as jsonl"),
        (("--metadata", "x.csv"), "need --index"),
        (("--output", "r.jsonl", "--resume", "--html", "p.html"), "report --results"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    films: Path, run: Callable[..., Result], options: tuple[str, ...], said: str
) -> None:
    assert said in run("predict", films, *options, code=2).stderr


def test_stdin_and_stdout_take_films_lists_results_and_pages(
    films: Path, triton_server: Any
) -> None:
    def run(*words: object, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [COMMAND, *map(str, words), "--no-gate"],
            input=stdin,
            capture_output=True,
            timeout=HANG_S,
            check=False,
            env=os.environ | {"CXR_SERVER": triton_server.grpc_address},
        )
        assert done.returncode == 0, done.stderr.decode()
        return done

    film = (films / "0.dcm").read_bytes()
    to_stdout = ("--output", "-", "--format", "jsonl")
    (line,) = run("predict", "-", *to_stdout, stdin=film).stdout.splitlines()
    assert json.loads(line)["film_id"] == f"{UID}0"
    listed = "\0".join(map(str, sorted(films.iterdir())[:2])).encode()
    found = run("predict", "--files-from", "-", *to_stdout, stdin=listed).stdout.splitlines()
    assert [json.loads(line)["film_id"] for line in found] == [f"{UID}0", f"{UID}1"]
    page = run("report", "-", "--html", "-", stdin=film).stdout
    assert page.startswith(b"<!DOCTYPE html>")
    assert f"{UID}0".encode() in page
