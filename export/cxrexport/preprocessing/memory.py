"""Memory between films, and memory that others share."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cxrclient.files import MemoryUse, keep_freed_memory as keep

__all__ = ["close_shared_memory", "keep_freed_memory"]


def keep_freed_memory() -> bool:
    """Let this process use the memory of one film again for the next one; see `cxrclient.files`."""
    return keep(MemoryUse.FILM)


def close_shared_memory() -> None:
    """Take from other users the right to read the shared memory that this process has mapped.

    Triton makes a region for each of its step processes with mode 0644, whatever the umask, and
    films pass through it. A step closes its own when it is initialised, before its first film; the
    region stays the same file when it grows. Who opened it earlier can still read it.
    """
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        _, found, name = line.partition(" /dev/shm/")
        if found:
            with contextlib.suppress(FileNotFoundError):  # nobody can open it any more
                Path("/dev/shm", name).chmod(0o600)  # noqa: S108  # where POSIX puts it
