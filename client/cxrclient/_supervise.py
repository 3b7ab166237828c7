"""Stands between a program and its Triton server, and outlives both.

Run as a program of its own (`python -I -S _supervise.py`), standard library only. Its standard
input is a pipe from the program that wants the server; it closes when that program asks for the end
and also when it dies, even by SIGKILL. Then the server is asked to finish, its process group is
ended, and its shared memory and its directory are removed. When the server ends by itself, the
directory stays, for the program to read the log. Triton alone would not do: its stubs outlive
it when it is killed while they load a model.

Arguments: the server's directory, the prefix of its shared memory regions, the seconds that films
in flight get, and the server's command. The exit code is the server's (128 + n for signal n).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where POSIX puts it; not a temporary file of ours
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the server until it ends or standard input does."""
    directory, prefix, stop_timeout_s, *command = sys.argv[1:]
    # Ctrl-C in a terminal and a closed terminal are the program's to judge, not ours.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    libc = ctypes.CDLL(None)

    def die_with_us() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    server = subprocess.Popen(  # noqa: S603  # the caller's own command, no shell
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        close_fds=False,  # the server and its stubs hold the directory's lock as well
        preexec_fn=die_with_us,  # safe: this program has one thread
    )
    asked = False
    try:
        while server.poll() is None:
            readable, _, _ = select.select([sys.stdin, woken], [], [])
            if woken in readable:
                os.read(woken, 64)
            if sys.stdin in readable:
                asked = True
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.terminate()
                    server.wait(float(stop_timeout_s))
                break
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        code = server.wait()
        remove(Path(directory) if asked else None, prefix)
    return code if code >= 0 else 128 - code


def remove(directory: Path | None, prefix: str) -> None:
    """Remove shared memory that a server's processes left, and its directory."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
