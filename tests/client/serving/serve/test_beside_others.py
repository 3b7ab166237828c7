"""Logs, the repository, and servers beside and after each other."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.serving.runtime_directory import RuntimeDirectory
from linked_copy import linked_copy
from orthanc import free_port
from served import PATIENCE_S, RESERVED, SHARED_MEMORY, Serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")


def test_a_log_file_is_kept_and_an_old_failure_in_it_is_not_reported_again(
    tiny_repository: Path, tmp_path: Path, serve: Callable[..., Serving]
) -> None:
    log = tmp_path / "triton.log"
    log.write_text("\"failed to load 'old' version 1: Internal: long ago\"\n")
    serving = serve(tiny_repository, "--log-file", str(log))
    serving.wait_ready()
    os.kill(serving.pid_of("tritonserver"), signal.SIGTERM)
    serving.process.wait(PATIENCE_S)
    assert "old" not in serving.error()
    assert "Started GRPCInferenceService" in log.read_text()


def test_serving_writes_nothing_into_the_repository(
    model_repository: Path, tmp_path: Path, serve: Callable[..., Serving]
) -> None:
    copy = tmp_path / "repository"
    linked_copy(model_repository, copy)
    shutil.rmtree(copy / "preprocess" / "1" / "__pycache__", ignore_errors=True)
    before = sorted(copy.rglob("*"))
    serving = serve(copy)
    serving.wait_ready()
    serving.process.terminate()
    serving.process.wait(PATIENCE_S)
    assert sorted(copy.rglob("*")) == before


def test_servers_beside_each_other_do_not_disturb_each_other(
    triton_server: object, tiny_repository: Path
) -> None:
    address = triton_server.http_address  # type: ignore[attr-defined]
    with EmbeddedServer(tiny_repository, device="cpu") as other:
        assert other.http_address != address
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_S)
    connection.request("GET", "/v2/models/cxr/config")
    assert json.loads(connection.getresponse().read())["name"] == "cxr"


def test_an_error_inside_the_block_stops_the_server(tiny_repository: Path) -> None:
    server = EmbeddedServer(tiny_repository, device="cpu", http_port=free_port())

    def fail_while_serving() -> None:
        with server:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_while_serving()
    with socket.create_server(("127.0.0.1", server.http_port)):
        pass  # the port is free again


def test_what_a_killed_server_left_is_removed_by_the_next_and_a_living_ones_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living = RuntimeDirectory()
    dead = tmp_path / "cxr-triton-dead-test"
    dead.mkdir()
    region = SHARED_MEMORY / f"{RESERVED}{dead.name}-region"
    region.write_bytes(b"left behind")
    for directory in (living.path, dead):
        os.utime(directory, (time.time() - 3600,) * 2)
    try:
        RuntimeDirectory().release()
        assert not dead.exists()
        assert not region.exists()
        assert living.path.exists()
    finally:
        region.unlink(missing_ok=True)
        living.release()
    assert not living.path.exists()
