"""Memory between the films of a run."""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_freed_memory"]

# Source: glibc's malloc.h; the third one's largest value is that of mallopt(3).
_M_ARENA_MAX, _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -8, -1, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20
_KEPT_BYTES = 64 << 20
_SAID = {
    *("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"),
    *("MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"),
}


def keep_freed_memory() -> bool:
    """Let this process use what one film has freed for the next one, whichever thread takes it.

    glibc gives blocks as large as films back to the kernel when they are freed, and each thread has
    a heap of its own; so a film's memory is taken page by page anew: 3,500 page faults and four
    fifths of the client's time (docs/adr/0015). It is a setting of the whole process, so it is for
    commands, not for a library in somebody else's.

    Returns:
        Whether it was done; not where another C library is at work, or where the environment
        says how glibc shall do it.
    """
    if os.environ.keys() & _SAID:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, _KEPT_BYTES),
    )
    return all(mallopt(name, value) for name, value in settings)
