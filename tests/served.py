"""`cxrclient serve` as a process of its own, and what is left of it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CXRCLIENT = Path(sys.executable).with_name("cxrclient")
SHARED_MEMORY = Path("/dev/shm")
RESERVED = "triton_python_backend_shm_region_"
"""Newer Tritons let no caller register a region that is named so."""

PATIENCE_S = 600  # only a hang takes so long
"""Far longer than the supervisor waits for its server (15 s), and than a busy machine needs."""

FREE_PORTS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")


@dataclass
class Serving:
    """A running `cxrclient serve`, and what it has left on the machine."""

    process: subprocess.Popen[str]
    temporary: Path

    @property
    def directories(self) -> list[Path]:
        return list(self.temporary.glob("cxr-triton-*"))

    def wait_ready(self) -> str:
        assert self.process.stdout is not None
        # The line comes whole: what can be read is the line, or the end of a failed process.
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert readable, f"neither ready nor ended within {PATIENCE_S} s"
        line = self.process.stdout.readline()
        assert line.startswith("Ready: "), line + self.error()
        return line

    def said(self) -> str:
        """The next line on stderr, after the first that says what is loaded."""
        assert self.process.stderr is not None
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stderr], [], [], PATIENCE_S)
            assert readable, f"nothing was said within {PATIENCE_S} s"
            # Not by the file object, whose buffer select does not see.
            character = os.read(self.process.stderr.fileno(), 1)
            assert character, f"the command has ended: {line!r}"
            line += character
        return self.said() if line.startswith(b"Loading ") else line.decode()

    def error(self) -> str:
        """What an ended command left on stderr; one that does not end is an error, not a hang."""
        self.process.wait(PATIENCE_S)
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def processes(self) -> list[int]:
        """Processes of this server: each names its directory in its command or environment."""
        mark = str(self.temporary).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:  # ended meanwhile
                    continue
                if mark in command and state != "Z" and int(entry.name) != self.process.pid:
                    found.append(int(entry.name))
        return found

    def pid_of(self, name: str) -> int:
        names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in self.processes()}
        return next(pid for pid, found in names.items() if found == name[:15])


def refused(repository: Path, *options: str, loading: bool = True) -> str:
    """The one line on stderr of a `serve` that must end with exit code 1.

    Where not `loading`, it must not have begun to load the models either.
    """
    command = [CXRCLIENT, "serve", "--model-repository", repository, *FREE_PORTS, *options]
    result = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )
    assert result.returncode == 1, result.stderr
    lines = result.stderr.splitlines()
    lines = [line for line in lines if not (loading and line.startswith("Loading "))]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("SERVE_FAILED: ")
    return lines[0].removeprefix("SERVE_FAILED: ")
