"""Whether the spool's disk takes what is written: found out by writing, and kept in mind."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cxrclient.node.spool.records import NoRoom

LEAST_BYTES = 1 << 16
"""Rows need some room, whatever is asked for."""
TRY_EVERY_S = 10.0
"""What was written last tells about the disk for so long."""


def try_to_write(spool: Path) -> None:
    """Write to the disk where films go, and leave nothing there.

    Raises:
        OSError: it refuses.
    """
    with tempfile.TemporaryFile(dir=spool / "films") as file:
        file.write(bytes(LEAST_BYTES))
        file.flush()
        os.fsync(file.fileno())


class Disk:
    """The disk of a spool that was written to just now.

    Args:
        spool: folder of the spool.
        tell: writes rows that the disk did not take before, and tells whether it does now.
    """

    def __init__(self, spool: Path, tell: Callable[[], bool]) -> None:
        self._spool, self._tell = spool, tell
        self._trying = threading.Lock()
        self._know(None)

    def require(self) -> None:
        """Refuse while the disk does; it is tried where no film was written for a while.

        Raises:
            NoRoom: `SPOOL_FAILED` or `NO_DESCRIPTORS`.
        """
        due = time.monotonic() - self._known_at >= TRY_EVERY_S
        if due and self._trying.acquire(blocking=False):
            try:
                try_to_write(self._spool)
                self._know(None if self._tell() else "SPOOL_FAILED")
            except OSError as error:
                self.refuses(error)
            finally:
                self._trying.release()
        if (refusal := self._refusal) is not None:
            raise NoRoom(refusal)

    def takes(self) -> None:
        """Keep in mind that a film was written."""
        self._know(None)
        self._tell()

    def refuses(self, error: Exception) -> NoRoom:
        """Keep in mind that a film was not written, and give what that means."""
        why = NoRoom.of(error)
        self._know(why.code)
        return why

    def _know(self, refusal: str | None) -> None:
        self._refusal, self._known_at = refusal, time.monotonic()
