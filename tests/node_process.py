"""A real node as a process of its own: started, killed, started again, ended; all that it wrote."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pynetdicom import AE

from cxrclient.errors import SpoolUnavailable
from cxrclient.node.network.association import keep_answers
from cxrclient.node.spool.rows import Rows
from cxrclient.node.spool.spool import DATABASE
from orthanc import free_port
from waiting import HANG_S, eventually

CXRCLIENT = Path(sys.executable).with_name("cxrclient")
VERIFICATION = "1.2.840.10008.1.1"


@dataclass
class NodeProcess:
    """`cxrclient node run` on free ports.

    Attributes:
        folder: for its spool and its log.
        server: Triton's HOST:PORT.
        peers: as for --peer.
        more: further options; by default it says everything that it can.
        environment: further variables.
        spool: of another node, for two on one.
        aet: its AE title.
    """

    folder: Path
    server: str
    peers: Sequence[str]
    more: Sequence[str] = ("-vv",)
    environment: dict[str, str] = field(default_factory=dict)
    spool: Path = Path()
    aet: str = "CXR"

    def __post_init__(self) -> None:
        self.port, self.http_port = free_port(), free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "node.log"
        if self.spool == Path():
            self.spool = self.folder / "spool"
        self.process: subprocess.Popen[bytes] | None = None
        self.groups: list[int] = []  # of each of its lives

    def start(self) -> None:
        """Start it; it need not be ready when this returns."""
        command = [CXRCLIENT, "node", "run", *self.more, "--aet", self.aet]
        command += ["--port", self.port, "--http-port", self.http_port, "--spool", self.spool]
        command += ["--server", self.server]
        for peer in self.peers:
            command += ["--peer", peer]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(each) for each in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=os.environ | self.environment, start_new_session=True,
            )  # fmt: skip
        self.groups.append(self.process.pid)

    def wait_ready(self) -> float:
        """Wait until films are accepted and it calls itself ready; seconds of that."""
        began = time.monotonic()
        eventually(lambda: self._runs() and self.is_echoed() and self.is_ready(), self.text)
        return time.monotonic() - began

    def wait_accepting(self) -> None:
        """Wait until films are accepted, Triton and PACS up or not."""
        eventually(lambda: self._runs() and self.is_echoed(), self.text)

    def _runs(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.text()
        return True

    def is_echoed(self) -> bool:
        """Whether C-ECHO is answered."""
        entity = AE("TESTER")
        entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = 5
        entity.add_requested_context(VERIFICATION)
        line = entity.associate("127.0.0.1", self.port, ae_title=self.aet)
        keep_answers(line)
        if not line.is_established:
            return False
        answer = line.send_c_echo()
        line.release()
        return getattr(answer, "Status", None) == 0x0000

    def is_ready(self) -> bool:
        """Whether `/health/ready` says so."""
        try:
            return self.get("health/ready")[0] == 200
        except OSError:
            return False

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Ask it over HTTP: status and body."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}/{path}", headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def kill(self, *, group: bool = False) -> None:
        """Kill -9: the node alone, or it and its children at once."""
        assert self.process is not None
        if group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it by SIGTERM; gives the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(HANG_S)

    def end(self) -> None:
        """Leave nothing of it, and see that its children end with it."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.kill()
        eventually(lambda: not self.leaves(), "a child outlives its node")

    def leaves(self) -> bool:
        """Whether there is still a process of any of its lives."""
        for group in self.groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, 0)
                return True
        return False

    def text(self) -> str:
        """Everything that it wrote to stdout and stderr, in all of its lives."""
        return self.log.read_text(errors="replace")

    def status(self) -> bytes:
        """What `cxrclient node status` tells, as JSON."""
        return subprocess.run(
            [CXRCLIENT, "node", "status", "--spool", self.spool, "--format", "json"],
            capture_output=True, check=True,
        ).stdout  # fmt: skip

    def films(self) -> dict[str, int]:
        """State of films → how many, as its rows say; asked often, beside its work."""
        try:
            with contextlib.closing(Rows(self.spool / DATABASE, read_only=True)) as rows:
                found = rows.all("SELECT state, COUNT(*) AS n FROM films GROUP BY state")
        except (sqlite3.Error, SpoolUnavailable):  # not there yet, or not yet whole
            return {}
        return {row["state"]: row["n"] for row in found}

    def is_done(self) -> bool:
        """Whether it runs, and every film that it has is done: at its peers, or failed."""
        states = set(self.films()) if self._runs() else set()
        return bool(states) and states <= {"done", "failed"}


@contextmanager
def running(node: NodeProcess) -> Iterator[NodeProcess]:
    """A node from its start until the block ends."""
    node.start()
    try:
        yield node
    finally:
        node.end()
