"""Memory that a process keeps from one film to the next."""

from __future__ import annotations

import ctypes
import enum
import logging
import os

_log = logging.getLogger(__name__)

# Source: glibc's malloc.h; the largest threshold for mapped blocks is that of mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -3, -4, -8
_LARGEST_MMAP_THRESHOLD = 32 << 20
_SAID = {
    *("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_"),
    "GLIBC_TUNABLES",
}


class MemoryUse(enum.Enum):
    """What a process keeps of its freed memory: glibc's options and their values."""

    FILM = ((_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, 64 << 20))
    """Films one after the other, as in a step of the server. Without it, a film of 1955x1841 costs
    4,087 page faults and half of its time (docs/adr/0011)."""
    FILMS = ((_M_ARENA_MAX, 1), *FILM)
    """Films of several threads, as in a run of the client: one heap for all, where each thread
    would have its own. Without it, a film costs 3,500 page faults and four fifths of the client's
    time (docs/adr/0015)."""
    TENSORS = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 256 << 20))
    """Tensors of many megabytes, as in training: nothing is given back. Without it, eager inference
    of the five networks at 1024 px on two cores takes 8.8 s a film, with it 4.6 s."""


def keep_freed_memory(kept: MemoryUse) -> bool:
    """Let this process use what it has freed again.

    glibc gives large blocks back to the kernel when they are freed, and takes them again page by
    page. It is a setting of the whole process, so it is for commands and for steps of the server,
    not for a library in somebody else's process.

    Returns:
        Whether it was done; not where another C library is at work, or where the environment
        says how glibc shall do it.
    """
    said = {*_SAID, "MALLOC_ARENA_MAX"} if kept is MemoryUse.FILMS else _SAID
    if os.environ.keys() & said:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    done = all(mallopt(option, value) for option, value in kept.value)
    if not done:
        _log.warning("glibc refused a setting of its memory; this process may be slower.")
    return done
