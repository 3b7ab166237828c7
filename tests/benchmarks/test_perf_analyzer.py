"""perf_analyzer: its report as it writes it, the program itself, and the documented commands."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import perf_analyzer
import pytest
from typer.testing import CliRunner

from cxrclient.cli.app import app
from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.wire import Tls, write_perf_data

# Written by perf_analyzer 2.50.0 for 32 films at 16 in flight.
REPORT = """\
Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,\
Server Compute Input,Server Compute Infer,Server Compute Output,Client Recv,p50 latency,\
p90 latency,p95 latency,p99 latency
16,0.840309,18678,0,2,93982,14371052,24482,9,14616754,26180304,26196260,26229981

"""


def test_times_of_the_report_are_read_as_milliseconds() -> None:
    load = perf_analyzer.read_report(REPORT)
    assert load.films_s == 0.840309
    assert load.percentiles_ms == {50: 14616.754, 95: 26196.26, 99: 26229.981}
    assert load.client_ms == pytest.approx(18.687)


@pytest.mark.parametrize(
    "report", ["", "\n\n", REPORT + REPORT.splitlines()[1], "Request Rate,x\n1,2\n"]
)
def test_a_report_that_is_not_of_one_concurrency_is_an_error(report: str) -> None:
    with pytest.raises(ValueError, match="one concurrency"):
        perf_analyzer.read_report(report)


def test_a_library_that_is_missing_is_named_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The loader's own words, from a program that stands for one whose library is missing.
    program = tmp_path / "perf_analyzer"
    words = "error while loading shared libraries: libb64.so.0d: cannot open shared object file"
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 127\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(perf_analyzer.PerfAnalyzerUnavailableError) as caught:
        perf_analyzer.find()
    assert str(caught.value) == (
        "perf_analyzer needs libb64.so.0d, which this system lacks (Debian: apt install libb64-0d)."
    )


@pytest.fixture(scope="module")
def analyzer() -> perf_analyzer.PerfAnalyzer:
    try:
        return perf_analyzer.find()
    except perf_analyzer.PerfAnalyzerUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def films(tmp_path: Path, write_dicom: Callable[..., Path]) -> Path:
    """As a user makes them."""
    film, path = write_dicom(tmp_path / "film.dcm"), tmp_path / "films.json"
    done = CliRunner().invoke(app, ["perf-data", str(film), "--output", str(path)])
    assert done.exit_code == 0, done.output
    return path


def test_the_real_program_measures_the_real_server(
    analyzer: perf_analyzer.PerfAnalyzer, triton_server: Any, films: Path
) -> None:
    load = analyzer.load(triton_server.grpc_address, films, concurrency=2, requests=4)
    # Two of four films took p50 or more, and none more than p99: two at a time, they last so long.
    p50_ms, p99_ms = load.percentiles_ms[50], load.percentiles_ms[99]
    assert 0 < p50_ms <= p99_ms
    assert p50_ms < 4 / load.films_s * 1e3


def test_a_server_that_refuses_every_film_is_an_error_and_no_measurement(
    analyzer: perf_analyzer.PerfAnalyzer, triton_server: Any, tmp_path: Path
) -> None:
    films = tmp_path / "films.json"
    with films.open("wb") as file:
        write_perf_data(file, [[b"no film"]])
    with pytest.raises(RuntimeError, match="NOT_READABLE"):
        analyzer.load(triton_server.grpc_address, films, concurrency=1, requests=2)


ROOT = Path(__file__).parents[2]


def documented(page: str) -> list[str]:
    """The perf_analyzer commands of a page of ours."""
    lines = (ROOT / page).read_text().splitlines()
    found = [
        line.strip() for line in lines if re.match("    (python .*/)?perf_analyzer.* -m ", line)
    ]
    assert found, page
    return found


@pytest.mark.parametrize("command", documented("README.md") + documented("docs/performance.md")[:2])
def test_the_documented_commands_measure_a_server(
    command: str, analyzer: perf_analyzer.PerfAnalyzer, triton_server: Any, films: Path
) -> None:
    here = {"localhost:8001": triton_server.grpc_address}
    here["localhost:8000"] = triton_server.http_address
    assert films_a_second(analyzer, command, films, here) > 0


@pytest.mark.parametrize("command", documented("docs/performance.md")[2:])
def test_the_documented_commands_measure_a_server_over_tls_with_a_token(
    command: str,
    analyzer: perf_analyzer.PerfAnalyzer,
    model_repository: Path,
    certificates: Path,
    films: Path,
) -> None:
    ours = certificates / "ca.pem" if "client.pem" in command else None
    tls = Tls(ours, certificates / "server.pem", certificates / "server.key")
    with EmbeddedServer(model_repository, device="cpu", tls=tls, token="abc") as server:
        here = {"HOST:8001": server.grpc_address, "cxr-token:TOKEN": "cxr-token:abc"}
        here |= {f" {name}": f" {certificates / name}" for name in PEMS if name in command}
        assert films_a_second(analyzer, command, films, here) > 0


PEMS = ("ca.pem", "client.pem", "client.key")


def films_a_second(
    analyzer: perf_analyzer.PerfAnalyzer, command: str, films: Path, here: dict[str, str]
) -> float:
    """Run a documented command with our addresses and files, and fewer films."""
    told = {**here, "--request-count 200": "--request-count 4"}
    words = re.sub(r"\S*films\.json", str(films), command)
    for ours, other in told.items():
        assert ours in words or ours.startswith("localhost"), ours
        words = words.replace(ours, other)
    program, *options = words.removeprefix("python ").split()
    ours = (
        [str(analyzer.binary)] if program == "perf_analyzer" else [sys.executable, ROOT / program]
    )
    done = subprocess.run(
        [*ours, *options],
        env=analyzer.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"throughput: ([\d.]+) infer/sec", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])
