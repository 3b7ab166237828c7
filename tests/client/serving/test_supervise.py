"""A step process or the server itself dies: the supervisor has it back, and no film is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cxrclient import CxrClient, Prediction, ServerUnreachable
from cxrclient.serving import supervise
from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.serving.supervise import http_address, pause_s
from cxrclient.serving.tritonserver import STUB
from waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")

CXRCLIENT = str(Path(sys.executable).with_name("cxrclient"))
SHARED_MEMORY = Path("/dev/shm")
PATIENCE_S = 600
"""Only catches a hang: a new start takes seconds."""


def regions(server: EmbeddedServer) -> dict[str, int]:
    """The modes of a server's shared memory regions, by name."""
    prefix = server._runtime.shared_memory_prefix  # type: ignore[union-attr]
    return {path.name: path.stat().st_mode & 0o777 for path in SHARED_MEMORY.glob(f"{prefix}*")}


@pytest.fixture(scope="module")
def supervised(model_repository):
    """A server of our own, to be hurt."""
    with EmbeddedServer(model_repository, device="cpu") as server:
        yield server


@pytest.fixture
def many(tmp_path, films):
    """A folder of twenty films."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.dcm").symlink_to(films[number % len(films)])
    return folder


@pytest.mark.parametrize("step", ["preprocess", "resnet34"])
def test_a_step_that_dies_in_the_middle_of_a_run_is_named_and_costs_no_film(
    supervised, many, tmp_path, pid_of, kill_step, caplog, step
):
    supervised.wait_ready()
    caplog.clear()
    output, summary = tmp_path / "results.jsonl", tmp_path / "run.json"
    command = [CXRCLIENT, "predict", many, "--server", supervised.grpc_address, "--no-gate"]
    command += ["--output", output, "--summary", summary, "--retry-for", "120"]
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    eventually(lambda: output.exists() and output.read_bytes().count(b"\n") >= 5, "no results")
    process.send_signal(signal.SIGSTOP)  # or its last film may be done before the step dies
    before = pid_of(supervised)
    kill_step(supervised, step)
    process.send_signal(signal.SIGCONT)
    stderr = process.communicate(timeout=PATIENCE_S + 120)[1]

    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert [result for result in results if result["status"] != "ok"] == []
    assert [Path(result["path"]).name for result in results] == sorted(
        path.name for path in many.iterdir()
    )
    assert process.returncode == 0, stderr
    assert json.loads(summary.read_text())["sent"]["retries"] > 0
    assert pid_of(supervised) != before
    eventually(lambda: "ready again" in caplog.text, caplog.text)
    said = rf"A step process died \({step}\); the server starts again.* \(restart \d+\)"
    assert re.search(said, caplog.text)


def test_a_server_that_crashes_is_started_again_without_what_it_left(
    supervised, films, pid_of, caplog
):
    supervised.wait_ready()
    caplog.clear()
    before = set(regions(supervised))
    os.kill(pid_of(supervised), signal.SIGSEGV)
    eventually(lambda: "ready again" in caplog.text, caplog.text)
    assert "The server was ended by signal SIGSEGV; the server starts again" in caplog.text
    assert before.isdisjoint(regions(supervised))
    with CxrClient(supervised.grpc_address, gate=False) as client:
        assert isinstance(client.predict(films[0]), Prediction)


def test_no_region_is_readable_for_others_once_the_server_is_ready_and_after_each_start(
    supervised, films, kill_step, caplog
):
    """A film is in shared memory while it passes between Triton and a step."""
    supervised.wait_ready()
    seen = regions(supervised)
    assert len(seen) >= 9
    caplog.clear()
    kill_step(supervised, "admission")
    eventually(lambda: "ready again" in caplog.text, caplog.text)
    seen |= regions(supervised)
    # Regions grow under load: sixteen films at once are one batch.
    with CxrClient(supervised.grpc_address, jobs=16, gate=False) as client:
        for _ in client.predict_many(films * 3):
            seen |= regions(supervised)
    assert len(seen) >= 18
    assert {name: oct(mode) for name, mode in seen.items() if mode != 0o600} == {}


def test_a_step_that_stays_dead_is_waited_for_once_and_not_by_each_film(
    unsupervised, films, kill_step
):
    kill_step(unsupervised, "resnet34")
    with CxrClient(unsupervised.grpc_address, jobs=1, retry_for_s=2, gate=False) as client:
        results = client.predict_many(films)
        first, retries = next(results), client.traffic.retries
        rest = list(results)
        assert client.traffic.retries == retries > 0
    assert {(each.code, each.status, each.retriable) for each in [first, *rest]} == {
        ("STEP_DIED", "failed", True)
    }
    assert first.message.startswith("The step resnet34 of the server has died. Send it again")


def test_a_server_that_is_not_ready_is_away_and_not_unfit(model_repository, tmp_path):
    """While it stops or loads it has no ensemble either; here it never gets ready."""

    class Loading(EmbeddedServer):
        def _arguments(self, *arguments):
            return [*super()._arguments(*arguments), "--exit-on-error=false"]

    repository = tmp_path / "repository"
    shutil.copytree(model_repository, repository)
    (repository / "admission" / "1" / "model.py").write_text("raise RuntimeError")
    (repository / "repository.json").unlink()  # or it is refused before it loads
    server = Loading(repository, device="cpu")
    server.start()
    try:
        eventually(lambda: server._get("/v2/health/live") is not None, "it does not answer")
        with pytest.raises(ServerUnreachable, match="is loading or stopping"):
            CxrClient(server.grpc_address)
    finally:
        server.stop()


# No real part can do this: Triton 2.51 leaves a dead step as a zombie, another version may reap it.
REAPING_SERVER = """
import http.server, subprocess, sys, threading
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2].partition("=")[2])), Ready)
step = subprocess.Popen([sys.argv[1], "600"])
threading.Thread(target=step.wait, daemon=True).start()
server.serve_forever()
"""


def runs(process: Path, program: Path) -> bool:
    """Whether this folder of /proc is of that program."""
    try:
        return (process / "cmdline").read_bytes().startswith(os.fsencode(program))
    except OSError:  # it has just ended
        return False


def test_a_step_that_is_missing_restarts_the_server_too(tmp_path, free_address):
    step = tmp_path / STUB
    shutil.copy2(str(shutil.which("sleep")), step)
    command = [sys.executable, supervise.__file__, "--regions=none-of-ours-"]
    command += ["--stop-timeout-s=5", "--", sys.executable, "-c", REAPING_SERVER]
    command += [str(step), f"--http-port={free_address.partition(':')[2]}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        (pid,) = [int(each.name) for each in Path("/proc").glob("[0-9]*") if runs(each, step)]
        os.kill(pid, signal.SIGKILL)
        told = [process.stdout.readline() for _ in range(3)]
        process.stdin.close()
    assert re.match(r"A step process died .*; the server starts again \(restart 1\)", told[0])
    assert told[1:] == ["The server is ready again.\n", "ready\n"]


def test_pauses_before_new_starts_grow_up_to_a_minute():
    assert [pause_s(number) for number in (1, 2, 3, 4, 8, 1000)] == [0, 1, 2, 4, 60, 60]


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        ([], ("127.0.0.1", 8000)),
        (["--http-port=1", "--http-address=::1"], ("::1", 1)),
        (["--http-port=1", "--reuse-http-port=3", "--http-port", "2"], ("127.0.0.1", 2)),
    ],
)
def test_readiness_is_asked_where_the_server_was_told_to_listen(arguments, address):
    assert http_address(["tritonserver", *arguments]) == address


@pytest.mark.slow
def test_a_queue_that_is_full_for_five_minutes_restarts_nothing(supervised, films, pid_of, caplog):
    """The supervisor looks at processes, and at nothing that load changes."""
    supervised.wait_ready()
    caplog.clear()
    before, until = pid_of(supervised), time.monotonic() + 300

    def films_without_end():
        while time.monotonic() < until:
            yield films[0]

    with CxrClient(supervised.grpc_address, jobs=256, timeout_s=600, gate=False) as client:
        results = list(client.predict_many(films_without_end()))
    assert len(results) > 256
    assert all(isinstance(result, Prediction) for result in results)
    assert pid_of(supervised) == before
    assert caplog.text == ""
