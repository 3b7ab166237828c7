"""Keeps glibc from handing big tensors back to the kernel after each use."""

from __future__ import annotations

import ctypes
import logging
import sys

__all__ = ["keep_freed_memory"]

_logger = logging.getLogger(__name__)

# Names and numbers of malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Tune malloc for tensors of many megabytes; does nothing where the libc is not glibc.

    Without it each activation is mapped, zeroed page by page and unmapped again. Measured before
    the project began, at 1024 px on two cores: eager inference of the five networks takes 8.8 s a
    film without and 4.6 s with it. Training was not measured apart.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 256 << 20))
    if not all(mallopt(option, value) for option, value in settings):
        _logger.warning("malloc could not be tuned; training may be slower")
