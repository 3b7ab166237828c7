"""Films for the client's tests, lines that can be cut, servers whose steps die, a real Milvus."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrclient.serving.supervise import step_processes
from orthanc import free_port

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn_film, write_dicom):
    """Six drawn films, different sizes."""
    folder = tmp_path_factory.mktemp("films")
    return [
        write_dicom(folder / f"{n}.dcm", drawn_film(n, rows=200 + 10 * n, columns=180))
        for n in range(6)
    ]


@pytest.fixture(scope="module")
def folder_of_films(tmp_path_factory, write_dicom):
    """Makes a folder of many films that are one, for runs whose films do not matter."""

    def make(count: int) -> Path:
        folder = tmp_path_factory.mktemp("many")
        first = write_dicom(folder / "00.dcm")
        for number in range(1, count):
            (folder / f"{number:02}.dcm").symlink_to(first)
        return folder

    return make


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory):
    """A real Milvus server that asks for a token, on free ports. Started once, ended for sure."""
    sys.path.append(str(BENCHMARKS))  # behind everything else: their names are common words
    from inputs.milvus_server import MilvusServer, missing

    if reason := missing():
        pytest.skip(reason)
    programs = BENCHMARKS.parent / "build" / "benchmarks" / "milvus" / "bin"  # unpacked once
    server = MilvusServer(tmp_path_factory.mktemp("milvus"), programs, authorization_enabled=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


class Wire:
    """A TCP connection to a real server that can be cut and mended: the server's loss, made easy.

    `cut` closes the client's end and refuses what comes; `mend` listens again at the same port.
    `hold` passes nothing on, as when a server hangs, until `flow`; `holds` is set once there is
    something that it holds back. `sent` is what went to the server. Triton's end stays open until
    the test is over: Triton 2.51 may hang when a request is cancelled, and other tests need it. A
    server that has few connections for all (Orthanc has four) is told of each end: `passes_ends`.
    """

    def __init__(self, target: str, *, passes_ends: bool = False) -> None:
        self.lead_to(target)
        self._passes_ends = passes_ends
        self._port = free_port()  # nobody takes it while the line is cut
        self._near: list[socket.socket] = []
        self._far: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self.holds = threading.Event()
        self._flowing = threading.Event()
        self._cut_at: int | None = None
        self._hold_at: int | None = None
        self.sent = bytearray()
        self.mend()

    @property
    def address(self) -> str:
        """HOST:PORT to reach the server through."""
        return f"127.0.0.1:{self._port}"

    def lead_to(self, target: str) -> None:
        """Lead what comes from here on to another server."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))

    def mend(self) -> None:
        """Listen, at the port of before."""
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def hold(self) -> None:
        """Pass nothing on from here."""
        self.holds.clear()
        self._flowing.clear()

    def hold_after(self, n_bytes: int) -> None:
        """Hold as soon as so much more has come for the server."""
        self._hold_at = len(self.sent) + n_bytes

    def flow(self) -> None:
        """Pass on what was held, and what comes."""
        self._flowing.set()

    def cut(self) -> None:
        """Close the client's end, and refuse new ones."""
        with self._lock:
            # The listener first: who is cut off comes again at once.
            listener, self._listener = self._listener, None
            _close([*([listener] if listener else []), *self._near])
            self._near.clear()
        self._flowing.set()

    def cut_after(self, n_bytes: int) -> None:
        """Cut as soon as so much more has come for the server."""
        self._cut_at = len(self.sent) + n_bytes

    def end(self) -> None:
        """Close everything, once the server has answered what it was asked."""
        self.cut()
        time.sleep(0.2)
        _close(self._far)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                with self._lock:
                    if self._listener is not listener:  # cut meanwhile
                        _close([near])
                        return
                    far = socket.create_connection(self._target)
                    self._near.append(near)
                    self._far.append(far)
                for ends in ((near, far, self.sent), (far, near, bytearray())):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, seen: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not self._flowing.is_set():
                    self.holds.set()
                self._flowing.wait()
                seen += data
                if self._hold_at is not None and len(self.sent) >= self._hold_at:
                    self._hold_at = None
                    self.hold()
                if self._cut_at is not None and len(self.sent) >= self._cut_at:
                    self._cut_at = None
                    self.cut()
                with contextlib.suppress(OSError):  # a lost end; the other one is read to its end
                    sink.sendall(data)
        if self._passes_ends:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@pytest.fixture(scope="session")
def make_wire() -> type[Wire]:
    """Ways to other servers: `make_wire(HOST:PORT)`; whoever makes one ends it."""
    return Wire


@pytest.fixture
def wire(triton_server: Any) -> Iterator[Wire]:
    """A way to the real server that the test can cut."""
    wire = Wire(triton_server.grpc_address)
    yield wire
    wire.end()


@pytest.fixture
def wire_to() -> Iterator[Callable[[str], Wire]]:
    """Makes ways to a server at HOST:PORT, but Triton, that the test can cut."""
    wires: list[Wire] = []

    def make(target: str) -> Wire:
        wires.append(Wire(target, passes_ends=True))
        return wires[-1]

    yield make
    for each in wires:
        each.end()


@pytest.fixture
def free_address() -> str:
    """HOST:PORT where nothing listens."""
    return f"127.0.0.1:{free_port()}"


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
def unsupervised(model_repository: Path, pid_of: Callable[[Any], int]) -> Iterator[Any]:
    """A server whose supervisor sleeps, so that what is dead stays dead, as in a bare Triton."""
    if sys.platform != "linux":
        pytest.skip("tritonserver runs on Linux only")
    from cxrclient.serving.embedded import EmbeddedServer

    with EmbeddedServer(model_repository, device="cpu") as server:
        supervisor = server._process.pid  # type: ignore[union-attr]
        os.kill(supervisor, signal.SIGSTOP)
        try:
            yield server
        finally:
            # A server with a dead step ends only when its supervisor's patience does.
            os.kill(pid_of(server), signal.SIGKILL)
            server._process.stdin.close()  # type: ignore[union-attr]
            os.kill(supervisor, signal.SIGCONT)
