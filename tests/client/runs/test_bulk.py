"""Long runs, as a site does them: killed and resumed, and with a server that goes and comes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cxrclient.serving.embedded import EmbeddedServer
from waiting import eventually

HANG_S = 600  # only a hang takes so long, whatever else the machine does
COMMAND = str(Path(sys.executable).with_name("cxrclient"))
COUNT = 14


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn_film, write_dicom):
    """A folder of fourteen films, one of them damaged."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(COUNT):
        write_dicom(folder / f"{number:02}.dcm", drawn_film(number))
    (folder / "03.dcm").write_bytes(b"")
    return folder


def started(address, films, output, *options):
    command = [COMMAND, "predict", str(films), "--server", address, "--output", str(output)]
    command += ["--no-gate", *map(str, options)]  # drawn films; the gate has its own tests
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def wait_for_lines(path, count):
    eventually(lambda: path.exists() and path.read_bytes().count(b"\n") >= count, "no results")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def statuses(films):
    return [(str(film), "rejected" if film.name == "03.dcm" else "ok") for film in films]


def test_a_killed_run_goes_on_with_each_film_once_and_in_order_until_there_is_nothing_to_do(
    triton_server, films, tmp_path
):
    output, summary = tmp_path / "results.jsonl", tmp_path / "run.json"
    options = ("--masks", tmp_path / "masks", "--jobs", 3)
    process = started(triton_server.grpc_address, films, output, *options)
    wait_for_lines(output, 6)
    process.kill()
    process.communicate()
    before = output.read_bytes().rpartition(b"\n")[0]
    process = started(
        triton_server.grpc_address, films, output, *options, "--resume", "--summary", summary
    )
    stderr = process.communicate(timeout=HANG_S)[1]
    assert process.returncode == 3, stderr
    results = lines(output)
    assert [(r["path"], r["status"]) for r in results] == statuses(sorted(films.iterdir()))
    assert output.read_bytes().startswith(before)
    assert {Path(r["mask"]).name for r in results if r["status"] == "ok"} == {
        path.name for path in (tmp_path / "masks").iterdir()
    }
    told = json.loads(summary.read_text())
    kept = before.count(b"\n") + 1
    assert told["films"] == {"total": COUNT, "ok": COUNT - 1, "rejected": 1, "failed": 0}
    assert sum(told["kept_from_earlier_runs"].values()) == kept
    assert told["sent"]["films"] == COUNT - kept

    process = started(
        triton_server.grpc_address, films, output, *options, "--resume", "--summary", summary
    )
    process.communicate(timeout=HANG_S)
    told = json.loads(summary.read_text())
    assert (told["sent"]["films"], told["films"]["total"]) == (0, COUNT)
    assert lines(output) == results


def test_an_interrupted_run_leaves_its_summary(wire, films, tmp_path):
    output, summary = tmp_path / "results.jsonl", tmp_path / "run.json"
    wire.hold_after(350_000)  # the fourth film: the run cannot end before the signal comes
    process = started(wire.address, films, output, "--jobs", 1, "--summary", summary)
    wait_for_lines(output, 2)
    assert wire.holds.wait(HANG_S)
    process.send_signal(signal.SIGINT)
    wire.flow()
    process.communicate(timeout=HANG_S)
    told = json.loads(summary.read_text())
    assert (process.returncode, told["outcome"]) == (130, "interrupted")
    assert told["films"]["total"] == len(lines(output))
    assert told["predictions_by_model_digest"] == {
        told["model"]["digest"]: told["films"]["ok"],
    }
    assert told["versions"]["triton"].startswith("2.")


@pytest.mark.parametrize("options", [["--resume"], ["--resume", "--output", "results.csv"]])
def test_resume_needs_results_that_can_be_read_again(films, options, tmp_path):
    command = [COMMAND, "predict", str(films), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "--output FILE.jsonl" in done.stderr


def test_whoever_looks_on_at_a_terminal_sees_a_bar(triton_server, films, tmp_path):
    import pty

    near, far = pty.openpty()
    some = [str(films / f"{number:02}.dcm") for number in (0, 1, 2, 4)]
    command = [COMMAND, "predict", *some, "--server", triton_server.grpc_address]
    command += ["--output", str(tmp_path / "results.jsonl"), "--no-gate"]
    environment = os.environ | {"COLUMNS": "120", "TERM": "xterm"}
    process = subprocess.Popen(command, stderr=far, stdout=subprocess.DEVNULL, env=environment)
    os.close(far)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal's end
        while data := os.read(near, 4096):
            shown += data
    os.close(near)
    assert process.wait(HANG_S) == 0
    shown = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown)  # colours and moves
    assert b"films (4 done)" in shown


def test_where_nobody_looks_on_there_is_no_bar(triton_server, films, tmp_path):
    process = started(triton_server.grpc_address, films / "00.dcm", tmp_path / "results.jsonl")
    stderr = process.communicate(timeout=HANG_S)[1]
    assert "films/s" not in stderr
    assert "\x1b" not in stderr


# With a line that is cut, test_patience states the rule within seconds; here a server really ends.
@pytest.mark.slow
def test_a_server_that_restarts_costs_no_film(model_repository, films, tmp_path):
    output, summary = tmp_path / "results.jsonl", tmp_path / "run.json"
    with EmbeddedServer(model_repository, device="cpu") as server:
        address, port = server.grpc_address, server.grpc_port
        process = started(address, films, output, "--jobs", 3, "--summary", summary)
        wait_for_lines(output, 4)
    assert process.poll() is None
    assert len(lines(output)) < COUNT
    with EmbeddedServer(model_repository, device="cpu", grpc_port=port):
        stderr = process.communicate(timeout=HANG_S)[1]
    assert process.returncode == 3, stderr
    results = lines(output)
    assert [(r["path"], r["status"]) for r in results] == statuses(sorted(films.iterdir()))
    assert json.loads(summary.read_text())["sent"]["retries"] > 0
