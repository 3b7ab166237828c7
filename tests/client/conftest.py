"""Films for the client's tests, and servers whose steps die."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrclient._supervise import step_processes

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn_film, write_dicom):
    """Six drawn films, different sizes."""
    folder = tmp_path_factory.mktemp("films")
    return [
        write_dicom(folder / f"{n}.dcm", drawn_film(n, rows=200 + 10 * n, columns=180))
        for n in range(6)
    ]


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory):
    """A real Milvus server that asks for a token, on free ports. Started once, ended for sure."""
    sys.path.append(str(BENCHMARKS))  # behind everything else: their names are common words
    from milvus_server import MilvusServer, missing

    if reason := missing():
        pytest.skip(reason)
    programs = BENCHMARKS.parent / "build" / "benchmarks" / "milvus" / "bin"  # unpacked once
    server = MilvusServer(tmp_path_factory.mktemp("milvus"), programs, authorization_enabled=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def pid_of() -> Callable[[Any], int]:
    """Finds the tritonserver of an EmbeddedServer: the only child of its supervisor."""

    def find(server: Any) -> int:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):  # no process, or one that has ended meanwhile
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(parent) == server._process.pid and state != "Z":
                    found.append(int(entry.name))
        (pid,) = found
        return pid

    return find


@pytest.fixture(scope="session")
def kill_step(pid_of: Callable[[Any], int]) -> Callable[[Any, str], None]:
    """Kills a process of one of an EmbeddedServer's steps: `kill_step(server, "preprocess")`."""

    def kill(server: Any, name: str) -> None:
        steps = step_processes(pid_of(server))
        os.kill(next(pid for pid, step in steps.items() if step.name == name), signal.SIGKILL)

    return kill


@pytest.fixture
def unsupervised(model_repository: Path) -> Iterator[Any]:
    """A server whose supervisor sleeps, so that what is dead stays dead, as in a bare Triton."""
    if sys.platform != "linux":
        pytest.skip("tritonserver runs on Linux only")
    from cxrclient.embedded import EmbeddedServer

    with EmbeddedServer(model_repository, device="cpu") as server:
        supervisor = server._process.pid  # type: ignore[union-attr]
        os.kill(supervisor, signal.SIGSTOP)
        try:
            yield server
        finally:
            os.kill(supervisor, signal.SIGCONT)
