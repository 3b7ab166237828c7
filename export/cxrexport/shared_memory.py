"""The shared memory through which Triton hands films to its step processes. Imports nothing large.

Triton makes a region for each step process with mode 0644, whatever the umask. Who opens it while
it has that mode can read in it for as long as the server lives. So a step closes its own before it
imports anything that takes time.
"""

from __future__ import annotations

import contextlib
from pathlib import Path


def close_shared_memory() -> None:
    """Take from other users the right to read the shared memory that this process has mapped.

    The region stays the same file when it grows. Who opened it earlier can still read it.
    """
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        _, found, name = line.partition(" /dev/shm/")
        if found:
            with contextlib.suppress(FileNotFoundError):  # nobody can open it any more
                Path("/dev/shm", name).chmod(0o600)  # noqa: S108  # where POSIX puts it
