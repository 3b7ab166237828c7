"""Room on the spool's disk: who needs how much of it, so that no result fills it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cxrclient.files import write_whole
from cxrclient.node.spool.disk import LEAST_BYTES

RESULTS_BYTES = 2_000_000
"""Of a film, about: three objects of 1955 by 1841 pixels."""
ROOM_TO_START = ".room"
"""A file that a start empties: without it SQLite opens nothing on a disk that is full."""
_TO_START_BYTES = 1 << 20


def keep_room_to_start(folder: Path) -> None:
    """Put some room of the disk aside for the next start, where there is any."""
    with contextlib.suppress(OSError):
        write_whole(folder / ROOM_TO_START, os.urandom(_TO_START_BYTES), secret=True)


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
