"""`predict --dicom --neighbours`: the nearest films of an archive as an SR in the film's study."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxrclient.cli.app import app
from cxrexport.phantom.collection import write_phantoms


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four drawn films, each of another patient."""
    folder = tmp_path_factory.mktemp("films")
    write_phantoms(4, folder, seed=3, size_px=200)
    found = {}
    for path in sorted((folder / "images").glob("*.dcm")):
        found.setdefault(pydicom.dcmread(path, stop_before_pixels=True).PatientID, path)
    return list(found.values())


@pytest.fixture
def run(triton_server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("CXR_SERVER", triton_server.grpc_address)
    monkeypatch.setenv("CXR_PATIENT_KEY", "a key for these tests only")

    def runs(*words: object) -> Result:
        command = [words[0], "--no-gate", *words[1:]]
        return CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)

    return runs


def told(path: str) -> list[tuple[str, str]]:
    """Value type and value of the film of each neighbour."""
    found = []

    def walk(item: pydicom.Dataset) -> None:
        name = item.get("ConceptNameCodeSequence")
        if name and name[0].CodeValue == "ARCHIVE_ID":
            found.append((item.ValueType, item.get("UID") or item.get("TextValue")))
        for below in item.get("ContentSequence", ()):
            walk(below)

    walk(pydicom.dcmread(path))
    return found


def uid(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


@pytest.mark.parametrize("hashed", [False, True])
def test_films_of_an_archive_that_no_film_is_put_into(films, run, tmp_path, hashed):
    archive, results = tmp_path / "cxr.db", tmp_path / "r.jsonl"
    hashing = ["--hash-uids"] if hashed else []
    assert run("index", *films[1:], "--uri", archive, *hashing).exit_code == 0

    done = run("predict", films[0], "--dicom", tmp_path / "objects", "--neighbours", 2,
               "--archive", archive, "--output", results)  # fmt: skip

    assert done.exit_code == 0, done.output
    (line,) = map(json.loads, results.open())
    assert Path(line["neighbours"]).name == f"{uid(films[0])}.neighbours.dcm"
    found = told(line["neighbours"])
    assert len(found) == 2
    if hashed:
        assert all(kind == "TEXT" and value.startswith("h:") for kind, value in found)
    else:
        assert all(kind == "UIDREF" for kind, _ in found)
        assert {value for _, value in found} <= set(map(uid, films[1:]))
    stats = CliRunner().invoke(app, ["archive", "stats", "--uri", str(archive), "--json"])
    assert json.loads(stats.output)["films"] == 3


def test_films_of_the_archive_that_the_film_goes_into_without_the_film_itself(films, run, tmp_path):
    archive, results = tmp_path / "cxr.db", tmp_path / "r.jsonl"
    assert run("index", *films, "--uri", archive).exit_code == 0

    done = run("predict", *films[:2], "--dicom", tmp_path / "objects", "--neighbours", 3,
               "--index", archive, "--output", results)  # fmt: skip

    assert done.exit_code == 0, done.output
    for line, film in zip(map(json.loads, results.open()), films, strict=False):
        found = {value for _, value in told(line["neighbours"])}
        assert found == {uid(other) for other in films if other != film}


def test_an_option_without_the_one_it_needs_is_wrong_usage(films, run, tmp_path):
    dicom = ("--dicom", tmp_path / "objects")
    for words in (
        ("--neighbours", 2),
        ("--neighbours", 2, *dicom),
        ("--archive", "cxr.db", *dicom),
        ("--neighbours", 2, "--archive", "a.db", "--index", "b.db", *dicom),
    ):
        done = run("predict", films[0], *words)
        assert (done.exit_code, done.stdout) == (2, ""), words
    assert not list(tmp_path.rglob("*.db"))


def test_an_archive_that_is_not_there_is_said_before_a_film_is_sent(films, run, tmp_path):
    done = run("predict", films[0], "--dicom", tmp_path / "objects", "--neighbours", 2,
               "--archive", tmp_path / "none.db")  # fmt: skip

    assert done.exit_code == 1
    assert done.stderr.startswith("ARCHIVE_UNAVAILABLE: ")
    assert not list((tmp_path / "objects").iterdir())
