"""Memory between films, or tensors: what a process has freed it uses again."""

from __future__ import annotations

import ctypes
import enum
import os

__all__ = ["MemoryUse", "keep_freed_memory"]

# Source: glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8
_LARGEST_MMAP_THRESHOLD = 32 << 20  # Source: mallopt(3).
_SAID = {
    *("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"),
    *("MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"),
}


class MemoryUse(enum.Enum):
    """What a process keeps: glibc's options and their values."""

    FILM = ((_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), (_TRIM_THRESHOLD, 64 << 20))
    """Films one after the other, each in the memory of the last: without it 4,087 page faults and
    half of the time of a film of 1955x1841 (our measurement)."""
    FILMS = ((_ARENA_MAX, 1), *FILM)
    """Films of several threads: one heap for all, as each would have its own. Without it 3,500
    page faults and four fifths of the client's time (docs/adr/0015)."""
    TENSORS = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, 256 << 20))
    """Tensors of many megabytes: nothing is mapped by itself and nothing given back. At 1024 px on
    two cores, eager inference of five networks takes 8.8 s a film without and 4.6 s with it."""


def keep_freed_memory(kept: MemoryUse) -> bool:
    """Let this process use what it has freed again.

    glibc gives large blocks back to the kernel when they are freed, and takes them page by page
    anew. It is a setting of the whole process, so it is for commands, not for a library in
    somebody else's.

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
    return all(mallopt(option, value) for option, value in kept.value)
