"""How `cxrclient predict` ends: no server, a lost one, interrupts, a closed pipe."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from predict_command import COMMAND, HANG_S
from waiting import eventually

FILM_BYTES = 96_000  # of a.dcm, and a little more with its header


def test_a_server_lost_on_the_way_is_exit_code_5_and_every_film_has_its_line(wire, films, tmp_path):
    output = tmp_path / "results.jsonl"
    wire.hold_after(5 * FILM_BYTES // 2)  # or the run may have ended before it is cut off
    process = _started(wire.address, [films / "a.dcm"] * 12, output, "--retry-for", "1")
    _wait_for_lines(output, 1)
    wire.cut()
    _, stderr = process.communicate(timeout=HANG_S)
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert process.returncode == 5, stderr
    assert len(results) == 12
    assert results[0]["status"] == "ok"
    assert results[-1].pop("journal")["gate"] is True
    assert results[-1] | {"message": ""} == {
        "path": str(films / "a.dcm"),
        "status": "failed",
        "code": "SERVER_UNREACHABLE",
        "message": "",
        "retriable": True,
    }


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_the_results_so_far(wire, films, tmp_path, signal_number):
    output = tmp_path / "results.jsonl"
    wire.hold_after(5 * FILM_BYTES // 2)
    process = _started(wire.address, [films / "a.dcm"] * 50, output)
    _wait_for_lines(output, 1)
    assert wire.holds.wait(HANG_S)
    process.send_signal(signal_number)
    eventually(lambda: not is_pending(process, signal_number), "it did not take the signal")
    wire.flow()  # the film in flight is waited for
    _, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert stderr.strip() == "Interrupted."
    assert all(json.loads(line)["status"] == "ok" for line in output.read_text().splitlines())


def test_a_second_interrupt_leaves_a_hanging_server_at_once(wire, films, tmp_path):
    output = tmp_path / "results.jsonl"
    wire.hold_after(5 * FILM_BYTES // 2)
    process = _started(wire.address, [films / "a.dcm"] * 50, output)
    _wait_for_lines(output, 1)
    assert wire.holds.wait(HANG_S)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=HANG_S)
    assert (process.returncode, stderr.strip()) == (130, "Interrupted.")


def test_an_ignored_interrupt_stays_ignored_and_the_run_says_what_ends_it(wire, films, tmp_path):
    """As in the background of a script: `cxrclient predict … &`, nohup, some schedulers."""
    output = tmp_path / "results.jsonl"
    ignore = ["bash", "-c", 'trap "" INT; exec "$@"', "bash"]
    wire.hold_after(3 * FILM_BYTES // 2)
    process = _started(wire.address, [films / "a.dcm"] * 50, output, through=ignore)
    _wait_for_lines(output, 1)
    assert wire.holds.wait(HANG_S)
    process.send_signal(signal.SIGINT)
    wire.hold_after(2 * FILM_BYTES)
    wire.flow()
    _wait_for_lines(output, 3)
    process.send_signal(signal.SIGTERM)
    eventually(lambda: not is_pending(process, signal.SIGTERM), "it did not take the signal")
    wire.flow()
    _, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert stderr.splitlines() == [
        "SIGINT is ignored here, as in a background job: SIGTERM ends this command.",
        "Interrupted.",
    ]


def is_pending(process, signal_number):
    """Whether a signal that was sent has not come yet."""
    status = Path("/proc", str(process.pid), "status").read_text()
    (pending,) = re.findall(r"^ShdPnd:\s*(\w+)", status, re.MULTILINE)
    return int(pending, 16) & 1 << signal_number - 1


def _started(address, films, output, *options, through=()):
    command = [*through, COMMAND, "predict", *map(str, films), "--server", address, "--jobs", "1"]
    command += ["--format", "jsonl", "--output", str(output), *map(str, options)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _wait_for_lines(path, count):
    eventually(lambda: path.exists() and path.read_text().count("\n") >= count, "no results")


def test_a_closed_pipe_ends_quietly(films, triton_server):
    command = f"{COMMAND} predict {films}/a.dcm {films}/b.dcm --format jsonl --server "
    command += f"{triton_server.grpc_address} --jobs 1 2>errors | true; cat errors; rm errors"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=films)
    assert "Traceback" not in done.stdout
    assert "rror" not in done.stdout.replace("errors", "")
