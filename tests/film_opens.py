"""Counts how often a film's file is opened; for the tests, and for the table of .ci/house.py."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_IN_OPEN, _IN_CLOSE, _IN_ISDIR = 0x20, 0x18, 0x40000000  # Source: inotify(7)
_EVENT = struct.Struct("iIII")


@contextlib.contextmanager
def opens_in(folder: Path) -> Iterator[Counter[str]]:
    """Count how often each file of a folder is opened, by whoever and whatever, as Linux sees it.

    The counts are there at the end.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    # Events that are alike, one after the other, become one: so closings are asked for too.
    assert libc.inotify_add_watch(descriptor, os.fsencode(folder), _IN_OPEN | _IN_CLOSE) >= 0
    counts: Counter[str] = Counter()
    try:
        yield counts
        with contextlib.suppress(BlockingIOError):
            while events := os.read(descriptor, 1 << 16):
                while events:
                    _, mask, _, length = _EVENT.unpack_from(events)
                    name = events[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                    events = events[_EVENT.size + length :]
                    if mask & _IN_OPEN and not mask & _IN_ISDIR:
                        counts[os.fsdecode(name)] += 1
    finally:
        os.close(descriptor)
