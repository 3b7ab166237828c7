"""File descriptors: how many the node may have, and whether an error means that none is left."""

from __future__ import annotations

import errno
import os
import resource
import socket

MOST = 4096
"""The limits on callers keep the node below 1,024, where `select` of pynetdicom ends."""
_NONE_LEFT = (errno.EMFILE, errno.ENFILE)


def raise_limit() -> None:
    """Let this process, and what it starts, open as many files as it needs and may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))


def ran_out(error: BaseException | None) -> bool:
    """Whether an error, or one that it comes of, means that no descriptor is left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NONE_LEFT:
            return True
        if isinstance(error, socket.gaierror) and not _can_open():  # it never says so itself
            return True
        error = error.__cause__ or error.__context__
    return False


def _can_open() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in _NONE_LEFT
    return True
