"""`cxrclient perf-data`: films as the client sends them, for perf_analyzer."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxrclient import read_film
from cxrclient.cli.app import app


def perf_data(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["perf-data", *map(str, arguments)])


def elements(path: Path) -> list[bytes]:
    """The films of a file, without the length that stands before each."""
    found = []
    for each in json.loads(path.read_text())["data"]:
        assert each["IMAGE"]["shape"] == [1]
        element = base64.b64decode(each["IMAGE"]["content"]["b64"])
        assert struct.unpack("<I", element[:4]) == (len(element) - 4,)
        found.append(element[4:])
    return found


@pytest.fixture
def film(tmp_path: Path, write_dicom: Callable[..., Path]) -> Path:
    return write_dicom(tmp_path / "zorn.dcm", PatientName="Zorn^Secret", PatientID="ZORN-77")


def test_films_are_written_as_they_are_sent_and_for_their_owner_alone(
    film: Path, tmp_path: Path, write_dicom: Callable[..., Path]
) -> None:
    other, output = write_dicom(tmp_path / "other.dcm"), tmp_path / "films.json"
    done = perf_data(film, other, "--output", output)
    assert done.exit_code == 0, done.output
    assert elements(output) == [read_film(film).payload, read_film(other).payload]
    assert output.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("server", "grpc", "http"),
    [
        (None, "localhost:8001", "localhost:8000"),
        ("grpc://[::1]:28401", "[::1]:28401", "[::1]:HTTP_PORT"),
    ],
)
def test_what_to_run_then_fits_the_server_the_file_and_the_folder(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server, grpc, http
) -> None:
    if server:
        monkeypatch.setenv("CXR_SERVER", server)
    monkeypatch.chdir(tmp_path)
    done = perf_data(film, "--output", "my films.json")
    size = (tmp_path / "my films.json").stat().st_size / 1e6
    how = "--async --input-data 'my films.json' --concurrency-range 4 --request-count 200"
    asks = "; put the server's in for HTTP_PORT" if "HTTP_PORT" in http else ""
    assert done.stdout.splitlines() == [
        f"my films.json: 1 film, {size:.1f} MB. Measure over gRPC or HTTP "
        f"(what TLS and tokens take: docs/performance.md){asks}:",
        f"perf_analyzer -m cxr -i grpc -u {grpc} {how}",
        f"perf_analyzer -m cxr -i http -u {http} {how}",
    ]
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "perf_analyzer.py").touch()
    again = perf_data(film, "--output", "films.json").stdout
    assert again.count("\npython benchmarks/perf_analyzer.py -m cxr") == 2


def test_a_film_that_cannot_be_read_is_named_and_the_others_are_written(
    film: Path, tmp_path: Path
) -> None:
    bad, output = tmp_path / "bad.dcm", tmp_path / "films.json"
    bad.write_bytes(film.read_bytes()[:600])
    done = perf_data(bad, film, "--output", output)
    assert (done.exit_code, len(elements(output))) == (3, 1)
    assert str(bad) in done.stderr


def test_without_a_film_that_can_be_read_the_file_of_before_stays(
    film: Path, tmp_path: Path
) -> None:
    bad, output = tmp_path / "bad.dcm", tmp_path / "films.json"
    bad.write_bytes(film.read_bytes()[:600])
    output.write_text("before")
    done = perf_data(bad, "--output", output)
    assert (done.exit_code, output.read_text()) == (2, "before")
    assert "None of 1 films" in done.stderr
