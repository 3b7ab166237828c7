"""perf_analyzer: its report as it writes it, its input as it wants it, and the program itself."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import perf_analyzer
import pytest

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


def test_a_film_is_written_as_one_element_behind_its_length(tmp_path: Path) -> None:
    path = perf_analyzer.write_films([b"film", b"another"], tmp_path / "films.json")
    films = json.loads(path.read_text())["data"]
    elements = [base64.b64decode(film["IMAGE"]["content"]["b64"]) for film in films]
    assert elements == [struct.pack("<I", 4) + b"film", struct.pack("<I", 7) + b"another"]


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


def test_the_real_program_measures_the_real_server(
    triton_server: Any, write_dicom: Callable[..., Path], tmp_path: Path
) -> None:
    try:
        analyzer = perf_analyzer.find()
    except perf_analyzer.PerfAnalyzerUnavailableError as error:
        pytest.skip(str(error))
    film = write_dicom(tmp_path / "film.dcm").read_bytes()
    films = perf_analyzer.write_films([film], tmp_path / "films.json")
    load = analyzer.load(triton_server.grpc_address, films, concurrency=2, requests=4)
    # Two of four films took p50 or more, and none more than p99: two at a time, they last so long.
    p50_ms, p99_ms = load.percentiles_ms[50], load.percentiles_ms[99]
    assert 0 < p50_ms <= p99_ms
    assert p50_ms < 4 / load.films_s * 1e3


def test_a_server_that_refuses_every_film_is_an_error_and_no_measurement(
    triton_server: Any, tmp_path: Path
) -> None:
    try:
        analyzer = perf_analyzer.find()
    except perf_analyzer.PerfAnalyzerUnavailableError as error:
        pytest.skip(str(error))
    films = perf_analyzer.write_films([b"no film"], tmp_path / "films.json")
    with pytest.raises(RuntimeError, match="NOT_READABLE"):
        analyzer.load(triton_server.grpc_address, films, concurrency=1, requests=2)
