"""`cxrclient serve` from its ready line to its end, asked for or not."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrclient.serving.embedded import EmbeddedServer
from served import PATIENCE_S, RESERVED, SHARED_MEMORY, Serving, refused
from tiny_repository import DIGEST
from waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")


def regions(names: list[str]) -> list[Path]:
    return [region for name in names for region in SHARED_MEMORY.glob(f"{RESERVED}{name}*")]


def test_ready_is_one_line_with_address_model_digest_and_notice(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    line = serve(tiny_repository).wait_ready()
    address = re.search(r"HTTP (127\.0\.0\.1):(\d+)", line)
    assert address is not None
    for words in ("gRPC 127.0.0.1:", "model tiny", DIGEST[:12], "Research use only"):
        assert words in line
    assert ". Ctrl-C stops. " in line
    assert line.endswith(" It adds nothing.\n")
    connection = http.client.HTTPConnection(address[1], int(address[2]), timeout=PATIENCE_S)
    connection.request("GET", "/v2/models/cxr/ready")
    assert connection.getresponse().status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_requested_stop_ends_with_0_and_leaves_nothing(
    tiny_repository: Path, serve: Callable[..., Serving], number: signal.Signals
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    names = [directory.name for directory in serving.directories]
    assert serving.processes()
    assert regions(names)
    serving.process.send_signal(number)
    assert serving.process.wait(PATIENCE_S) == 0
    assert serving.processes() == []
    assert regions(names) == []
    assert serving.directories == []


def test_an_ignored_interrupt_stays_ignored_and_the_command_says_what_ends_it(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited, as in a background job
    try:
        serving = serve(tiny_repository)
    finally:
        signal.signal(signal.SIGINT, before)
    line = serving.wait_ready()
    assert not [words for words in ("SIGINT", "Ctrl-C") if words in line]
    serving.process.send_signal(signal.SIGINT)
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(PATIENCE_S) == 0
    assert serving.error().splitlines()[1:] == [
        "SIGINT is ignored here, as in a background job: SIGTERM ends this command.",
        "Stopped.",
    ]


@pytest.mark.parametrize("when", ["loading", "ready"])
def test_a_killed_command_takes_the_server_and_its_stubs_with_it(
    model_repository: Path, tiny_repository: Path, serve: Callable[..., Serving], when: str
) -> None:
    if when == "ready":
        serving = serve(tiny_repository)
        serving.wait_ready()
    else:
        serving = serve(model_repository)
        # The first stubs are there, the last are not: Triton is in the middle of it.
        eventually(lambda: len(regions([d.name for d in serving.directories])) >= 7)
    names = [directory.name for directory in serving.directories]
    serving.process.kill()
    eventually(lambda: serving.processes() == [], serving)
    eventually(lambda: regions(names) == [])
    eventually(lambda: serving.directories == [])


@pytest.mark.parametrize(
    ("victim", "why"),
    [
        ("tritonserver", "The server was ended by signal SIGKILL"),
        ("triton_python_backend_stub", "A step process died (identity)"),
    ],
)
def test_a_server_or_a_step_that_is_killed_is_said_in_the_terminal_and_is_back(
    tiny_repository: Path, serve: Callable[..., Serving], victim: str, why: str
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    before = serving.pid_of("tritonserver")
    os.kill(serving.pid_of(victim), signal.SIGKILL)
    assert serving.said() == f"{why}; the server starts again (restart 1).\n"
    assert serving.said() == "The server is ready again.\n"
    os.kill(serving.pid_of(victim), signal.SIGKILL)
    assert serving.said() == f"{why}; the server starts again after a pause of 1 s (restart 2).\n"
    assert serving.said() == "The server is ready again.\n"
    assert serving.pid_of("tritonserver") != before
    serving.process.terminate()
    assert serving.process.wait(PATIENCE_S) == 0
    assert serving.processes() == []


def test_a_server_that_somebody_stops_ends_the_command_with_1_and_the_reason(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    os.kill(serving.pid_of("tritonserver"), signal.SIGTERM)
    assert serving.process.wait(PATIENCE_S) == 1
    assert "SERVE_FAILED: the server ended with code 0" in serving.error()
    assert serving.processes() == []


def test_new_starts_that_fail_come_ever_later_and_end_with_the_reason(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    serving = serve(tiny_repository)
    serving.wait_ready()
    (tiny_repository / "identity" / "1" / "model.onnx").write_bytes(b"\x08\x08no graph")
    os.kill(serving.pid_of("triton_python_backend_stub"), signal.SIGKILL)
    assert serving.process.wait(2 * PATIENCE_S) == 1
    error = serving.error()
    assert re.findall(r"pause of (\d+) s", error) == ["1", "2", "4", "8"]
    assert "SERVE_FAILED: model identity does not load: OpenVINO cannot read model.onnx" in error
    assert serving.processes() == []


@pytest.mark.parametrize("port", ["http", "grpc", "metrics"])
def test_a_port_in_use_is_named_before_anything_is_loaded(tiny_repository: Path, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        reason = refused(tiny_repository, f"--{port}-port", str(number), loading=False)
    assert reason.startswith(f"{port} port {number} on 127.0.0.1 cannot be used")
    assert f"--{port}-port" in reason


def test_ports_that_were_chosen_are_kept_for_the_server_until_it_ends(
    tiny_repository: Path,
) -> None:
    server = EmbeddedServer(tiny_repository, device="cpu")
    for port in (server.grpc_port, server.http_port, server.metrics_port):
        with socket.socket() as anybody, pytest.raises(OSError, match="in use"):
            anybody.bind(("127.0.0.1", port))
    with server:  # Triton listens there all the same
        assert server.wait_ready().labels
    for port in (server.grpc_port, server.http_port, server.metrics_port):
        with socket.create_server(("127.0.0.1", port)):
            pass
