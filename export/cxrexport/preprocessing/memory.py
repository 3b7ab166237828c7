"""Memory between films."""

from __future__ import annotations

import ctypes
import os

# Not used here: model.py of older repositories imports it from here.
from cxrexport.shared_memory import close_shared_memory

__all__ = ["close_shared_memory", "keep_freed_memory"]

# Source: glibc's malloc.h; the second one's largest value is that of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20
_SAID = {
    *("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_"),
    "GLIBC_TUNABLES",
}


def keep_freed_memory(kept_bytes: int = 64 << 20) -> bool:
    """Let this process keep what one film has freed for the next one.

    glibc gives the end of the heap back to the kernel once more of it is free than twice its
    largest block, and takes it again page by page. A film's blocks are all of about one size, so
    that is what happens with each: 4,087 page faults and half of the time of a film of 1955×1841
    (our measurement). A process that prepares films one after the other asks for this once.

    Args:
        kept_bytes: how much may stay free at the end of the heap.

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
    mapped = mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    return bool(mapped and mallopt(_M_TRIM_THRESHOLD, kept_bytes))
