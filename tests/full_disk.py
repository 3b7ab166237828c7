"""A disk that takes nothing, as the operating system refuses it: for tests of what is said then."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_byte_can_be_written() -> Iterator[None]:
    """Let this process write to no file, on whatever disk; to look at files is as ever."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
