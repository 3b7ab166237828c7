"""Room on the spool's disk: who needs how much of it, so that no result fills it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from cxrclient.files import write_whole
from cxrclient.node.spool.disk import LEAST_BYTES

RESULTS_BYTES = 2_000_000
"""Of a film, about: three objects of 1955 by 1841 pixels."""
ROOM_TO_START = ".room"
"""A file that a start empties: without it SQLite opens nothing on a disk that is full."""
_TO_START_BYTES = 1 << 20
WHILE_IT_RUNS_BYTES = 4 << 20
"""What goes on may have these first: SQLite's WAL grows to so much."""


def keep_room_to_start(folder: Path, leave_bytes: int = LEAST_BYTES) -> None:
    """Put some room of the disk aside for the next start, as far as it is not, and there is any.

    Args:
        folder: of the spool.
        leave_bytes: free bytes that are not for this.
    """
    with contextlib.suppress(OSError), (folder / ROOM_TO_START).open("ab", buffering=0) as file:
        free = shutil.disk_usage(folder).free - leave_bytes
        file.write(os.urandom(max(min(_TO_START_BYTES - file.tell(), free), 0)))
        os.fsync(file.fileno())


@contextlib.contextmanager
def room_to_start(folder: Path) -> Iterator[None]:
    """Give a start the room that was put aside for it, and put it aside again at the end.

    Raises:
        OSError: the disk refuses.
    """
    write_whole(folder / ROOM_TO_START, b"", secret=True)
    try:
        yield
    finally:
        keep_room_to_start(folder)


def why(folder: Path, error: Exception) -> str:
    """Say why rows cannot be used: for a full disk SQLite has many words that do not say so."""
    if isinstance(error, sqlite3.Error) and shutil.disk_usage(folder).free < _TO_START_BYTES:
        return f"the disk is full ({error}). Make room on it, 2 MB at least"
    return str(error)


class Room:
    """The room that there is.

    Args:
        folder: on the disk.
        min_free_bytes: below it no film is taken, and below half of it none is analysed.
        tell: called when films begin to wait for room.
    """

    def __init__(self, folder: Path, min_free_bytes: int, tell: Callable[[], None]) -> None:
        self._folder, self._tell, self._waits = folder, tell, False
        self._min_free = max(min_free_bytes, LEAST_BYTES)

    def least_for_film(self, waiting: int) -> int:
        """Bytes that must be free where a film is taken; results of those that wait have theirs."""
        return self._min_free + waiting * RESULTS_BYTES

    def is_for_results(self) -> bool:
        """Whether a film may be analysed: rows and what others write need the rest.

        Raises:
            OSError: the disk does not answer.
        """
        waits = not self._is_free(max(self._min_free // 2, LEAST_BYTES))
        if waits and not self._waits:
            self._tell()
        self._waits = waits
        return not waits

    def is_for_rows(self) -> bool:
        """Whether it can be written down what became of a delivery.

        Raises:
            OSError: the disk does not answer.
        """
        return self._is_free(LEAST_BYTES)

    def _is_free(self, least_bytes: int) -> bool:
        return shutil.disk_usage(self._folder).free >= least_bytes
