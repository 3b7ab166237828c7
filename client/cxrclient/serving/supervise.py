"""Stands between whoever wants a Triton server and that server, and outlives both.

Run as a program of its own, standard library only, in one of two ways:

- below a program (`python -I -S supervise.py`): standard input is a pipe from it, which closes
  when it asks for the end and also when it dies, even by SIGKILL. Standard output tells it, a line
  each, that the server is ready (`READY`) and of new starts. The server writes to standard error.
- with `--init`, as process 1 of a container: SIGTERM and SIGINT ask for the end.

Then the server is asked to finish, its process group is ended, and its shared memory and its
directory are removed. When the server ends by itself, the directory stays, for the program to read
the log. Triton alone would not do: its stubs outlive it when it is killed while they load a model.

A server that had been ready is started again in two cases. A step process (Triton's Python stub)
has died or is missing: Triton leaves it as a zombie, goes on to be ready, and fails each film that
meets it. Or
a signal has ended the server: a crash, or the kernel for want of memory. A server that ends while
it loads, or that exits, has its reason; it is not started again. The exit code is the server's
(128 + n for signal n). Readiness is asked over HTTP: without it, nothing is started again.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where POSIX puts it; not a temporary file of ours
READY = "ready"
"""What is told when the server takes films, also after a new start; other lines are sentences."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_ASK_READY_EVERY_S = 0.2
_LOOK_EVERY_S = 60.0
"""For step processes that began later; the end of those that are known is told by the kernel."""
_DEAD_AFTER_S = 1.0
"""Triton reaps a step that it ended itself at once; what is a zombie for longer, has died. So has
what is missing for so long while the server goes on to be ready."""
_DRAIN_S = 5.0
"""What the films in flight get when a step has died: some meet it, and fail, until the end."""
_FAILED_STARTS = 5
"""So many new starts in a row without getting ready, and it is given up."""
_HEALTHY_S = 300.0
"""A server that was ready for so long starts again without a pause."""
_LONGEST_PAUSE_S = 60.0


class Step(NamedTuple):
    """A step process as the kernel knows it: name (empty for a zombie), and whether it is one."""

    name: str
    dead: bool


def pause_s(starts: int) -> float:
    """The seconds before the nth new start without a healthy time between: 0, 1, 2, 4, … 60."""
    return min(2.0 ** (starts - 2), _LONGEST_PAUSE_S) if starts > 1 else 0.0


class _Supervisor:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._command: list[str] = arguments.command
        self._directory: Path | None = arguments.directory
        self._regions: str = arguments.regions
        self._stop_timeout_s: float = arguments.stop_timeout_s
        self._init: bool = arguments.init
        self._http_address = http_address(arguments.command)
        # Then a step may go because somebody unloads its model.
        self._unloads = any(word.startswith("--model-control") for word in arguments.command)
        self._libc = ctypes.CDLL(None)
        self._woken, self._wake = os.pipe()
        self._asked = False
        self._starts = self._starts_in_a_row = self._failed_starts = 0
        self._server: subprocess.Popen[bytes]
        self._watched: dict[int, int] = {}
        self._look_every_s = _LOOK_EVERY_S

    def run(self) -> int:
        """Run the server until it ends for good; its exit code."""
        self._take_signals()
        try:
            while True:
                why = self._live()
                code = self._end()
                if why is None or self._asked:
                    return code if code >= 0 else 128 - code
                remove(None, self._regions)
                if not self._starts_again(why):
                    return 0
        finally:
            remove(self._directory if self._asked else None, self._regions)

    def _take_signals(self) -> None:
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)
        ours = {signal.SIGTERM, signal.SIGINT} if self._init else set()
        # Below a program, Ctrl-C in a terminal and a closed terminal are for it to judge.
        for number in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} - ours:
            signal.signal(number, signal.SIG_IGN)
        for number in {signal.SIGCHLD} | ours:
            signal.signal(number, lambda *_: None)
        # What the server leaves behind becomes our child, and is waited for before a new start.
        self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def _live(self) -> str | None:
        """Run one server to its end; why a new one is needed, None where none is."""
        self._server = self._start()
        ready_at: float | None = None
        names: dict[int, str] = {}
        died_at: dict[int, float] = {}
        while True:
            pause = _ASK_READY_EVERY_S if ready_at is None else self._look_every_s
            self._wait(_DEAD_AFTER_S if died_at else pause)
            now = time.monotonic()
            if self._asked:
                self._finish(self._stop_timeout_s)
                return None
            if self._server.poll() is not None:
                return self._why_it_ended(ready_at)
            steps = step_processes(self._server.pid)
            # A zombie has no name any more: it is kept from before.
            names |= {pid: step.name for pid, step in steps.items() if step.name}
            if ready_at is None:
                if not is_ready(self._http_address):
                    continue
                ready_at, self._failed_starts = now, 0
                steps = step_processes(self._server.pid)  # those that came meanwhile, too
                names = {pid: names.get(pid, step.name) for pid, step in steps.items()}
                # Only now: a step that dies as soon as this is heard is known, and missed.
                if self._starts:
                    self._tell("The server is ready again.")
                self._tell_program(READY)
            lost = {pid for pid, step in steps.items() if step.dead}
            missing = set() if self._unloads else names.keys() - steps.keys()
            died_at = {pid: died_at.get(pid, now) for pid in lost | missing}
            self._watch({pid for pid, step in steps.items() if not step.dead})
            dead = [pid for pid, since in died_at.items() if now - since >= _DEAD_AFTER_S]
            # A server that ends its steps itself, because it stops, is not ready any more.
            if lost.intersection(dead) or (dead and is_ready(self._http_address)):
                self._note_health(ready_at)
                self._finish(_DRAIN_S)
                which = ", ".join(sorted({names.get(pid, "its name is lost") for pid in dead}))
                return f"A step process died ({which})"

    def _why_it_ended(self, ready_at: float | None) -> str | None:
        number = -self._server.returncode
        if number in (signal.SIGTERM, signal.SIGINT):  # somebody asked it directly
            return None
        if ready_at is not None:
            self._note_health(ready_at)
            name = signal.Signals(number).name if number > 0 else None
            return name and f"The server was ended by signal {name}"
        self._failed_starts += 1
        if self._starts == 0 or self._failed_starts >= _FAILED_STARTS:
            return None
        return "The server did not load"

    def _note_health(self, ready_at: float) -> None:
        if time.monotonic() - ready_at >= _HEALTHY_S:
            self._starts_in_a_row = 0

    def _starts_again(self, why: str) -> bool:
        """Say it, and wait; False where the end is asked for meanwhile."""
        self._starts += 1
        self._starts_in_a_row += 1
        pause = pause_s(self._starts_in_a_row)
        when = f" after a pause of {pause:g} s" if pause else ""
        self._tell(f"{why}; the server starts again{when} (restart {self._starts}).")
        until = time.monotonic() + pause
        while not self._asked and (left := until - time.monotonic()) > 0:
            self._wait(left)
        return not self._asked

    def _tell(self, sentence: str) -> None:
        print(f"cxr-triton: {sentence}", file=sys.stderr, flush=True)  # noqa: T201  # the log
        self._tell_program(sentence)

    def _tell_program(self, line: str) -> None:
        if not self._init:
            with contextlib.suppress(OSError):  # it is gone: the end of it will be noticed
                print(line, flush=True)  # noqa: T201

    def _start(self) -> subprocess.Popen[bytes]:
        def die_with_us() -> None:
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)

        return subprocess.Popen(  # noqa: S603  # the caller's own command, no shell
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=None if self._init else sys.stderr,  # ours is for what is told
            process_group=0,
            close_fds=False,  # the server and its stubs hold the directory's lock as well
            preexec_fn=die_with_us,  # safe: this program has one thread
        )

    def _wait(self, timeout_s: float) -> None:
        """Sleep until the end is asked for, a child or a step process ends, or the time is up."""
        stdin = [] if self._init or self._asked else [sys.stdin.fileno()]
        descriptors = [self._woken, *stdin, *self._watched.values()]
        readable, _, _ = select.select(descriptors, [], [], timeout_s)
        if self._woken in readable:
            numbers = os.read(self._woken, 64)
            self._asked |= not {signal.SIGTERM, signal.SIGINT}.isdisjoint(numbers)
            self._reap()
        self._asked |= not set(stdin).isdisjoint(readable)

    def _reap(self) -> None:
        """Take note of ended children; of the server's end, through its object."""
        with contextlib.suppress(ChildProcessError):
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid == self._server.pid:
                    self._server.poll()
                else:
                    os.waitpid(found.si_pid, 0)

    def _watch(self, pids: set[int]) -> None:
        """Have the kernel tell the end of these processes, and of no others."""
        for pid in self._watched.keys() - pids:
            os.close(self._watched.pop(pid))
        for pid in pids - self._watched.keys():
            with contextlib.suppress(OSError, AttributeError):  # gone, or a kernel without it
                self._watched[pid] = os.pidfd_open(pid)
        all_told = self._watched.keys() == pids
        self._look_every_s = _LOOK_EVERY_S if all_told else _DEAD_AFTER_S

    def _finish(self, limit_s: float) -> None:
        """Ask the server to finish, and give it so long."""
        self._watch(set())
        self._server.terminate()
        until = time.monotonic() + limit_s
        while self._server.poll() is None and (left := until - time.monotonic()) > 0:
            self._wait(left)

    def _end(self) -> int:
        """End all processes of the server; its exit code, -n for signal n."""
        self._watch(set())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        code = self._server.wait()
        until = time.monotonic() + 10  # they are killed; a GPU is free once they are gone
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < until:
                if os.waitpid(-self._server.pid, os.WNOHANG) == (0, 0):
                    time.sleep(0.02)
        return code


def http_address(command: list[str]) -> tuple[str, int]:
    """Where a server with this command answers over HTTP: Triton takes an option's last value."""

    def last(option: str, default: str) -> str:
        found: list[str] = re.findall(rf"^{option}[=\n](.*)$", "\n".join(command), re.MULTILINE)
        return found[-1] if found else default

    # Linux takes a connection to 0.0.0.0 for one to this machine.
    return last("--http-address", "") or "127.0.0.1", int(last("--http-port", "8000"))


def is_ready(address: tuple[str, int]) -> bool:
    """Whether the server has loaded every model, and takes films."""
    question = b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError), socket.create_connection(address, 1) as connection:
        connection.settimeout(1)
        connection.sendall(question)
        return connection.recv(64).split(b" ")[1:2] == [b"200"]
    return False


def step_processes(server: int) -> dict[int, Step]:
    """The children of a Triton server that run its Python models, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # ended meanwhile
            name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(") ")
            state, parent = rest.split()[:2]
            if int(parent) == server and name == "triton_python_b":  # the kernel cuts names
                words = (entry / "cmdline").read_text(errors="replace").split("\0")
                # The stub's eighth argument is the instance, as preprocess_0_1.
                instance = words[8] if len(words) > 8 else ""
                found[int(entry.name)] = Step(re.sub(r"_\d+_\d+$", "", instance), state in "ZX")
    return found


def remove(directory: Path | None, prefix: str) -> None:
    """Remove shared memory that a server's processes left, and its directory."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """Read the arguments, and supervise."""
    parser = argparse.ArgumentParser(prog="supervise.py", description="Keep a Triton server up.")
    parser.add_argument("--init", action="store_true", help="as process 1: signals ask for the end")
    parser.add_argument("--directory", type=Path, help="the server's own, removed in the end")
    parser.add_argument("--regions", required=True, help="prefix of its shared memory regions")
    parser.add_argument("--stop-timeout-s", type=float, required=True, help="for films in flight")
    parser.add_argument("command", nargs="+", help="the server's command, after --")
    return _Supervisor(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
