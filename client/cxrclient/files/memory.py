"""Memory that a process keeps from one film to the next."""

from __future__ import annotations

import ctypes
import logging
import os
from typing import Literal

__all__ = ["keep_freed_memory"]

_log = logging.getLogger(__name__)

# Source: glibc's malloc.h; the largest threshold for mapped blocks is that of mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -3, -4, -8
_LARGEST_MMAP_THRESHOLD = 32 << 20
_STEP = ((_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, 64 << 20))
_SETTINGS = {
    "step": _STEP,
    "run": ((_M_ARENA_MAX, 1), *_STEP),
    "training": ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 256 << 20)),
}
_SAID = {
    *("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_"),
    "GLIBC_TUNABLES",
}


def keep_freed_memory(setting: Literal["step", "run", "training"]) -> bool:
    """Let this process use what one film has freed for the next one.

    glibc gives large blocks back to the kernel when they are freed, and takes them again page by
    page. It is a setting of the whole process, so it is for commands and steps of the server, not
    for a library in somebody else's process. Measured:

    - `step`: the server prepares films one after the other. Without it, a film of 1955×1841 costs
      4,087 page faults and half of its time (docs/adr/0011).
    - `run`: the client sends films from several threads, each with a heap of its own; here they
      share one. Without it, a film costs 3,500 page faults and four fifths of the client's time
      (docs/adr/0015).
    - `training`: tensors of many megabytes, and nothing is given back at all. Without it, eager
      inference of the five networks at 1024 px on two cores takes 8.8 s a film, with it 4.6 s.

    Args:
        setting: for which kind of process.

    Returns:
        Whether it was done; not where another C library is at work, or where the environment
        says how glibc shall do it.
    """
    said = {*_SAID, "MALLOC_ARENA_MAX"} if setting == "run" else _SAID
    if os.environ.keys() & said:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    done = all(mallopt(option, value) for option, value in _SETTINGS[setting])
    if not done:
        _log.warning("glibc refused a setting of its memory; this process may be slower.")
    return done
