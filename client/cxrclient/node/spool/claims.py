"""Who works on what: a claim is in memory, and so ends with the process."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cxrclient.node.spool.rows import Rows

LOOK_S = 1.0
"""How often those who wait look whether another process (`node retry`) changed rows."""
LONGEST_WAIT_S = 60.0


class Claims:
    """Claims on rows, for many threads.

    Args:
        rows: that are claimed.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._changed = threading.Condition()
        self._wakes = 0
        self._arriving: set[str] = set()
        self._in_work: set[tuple[str, str]] = set()  # (film, target)

    def claim(
        self,
        target: str,
        sql: str,
        values: tuple[Any, ...],
        wait_s: float,
        may: Callable[[], bool],
    ) -> sqlite3.Row | None:
        """Give a row that nobody has, and claim it; None where there is none in time.

        Args:
            target: which rows exclude each other, by their `uid`.
            sql: finds them, the first in turn first; its first placeholder is now.
            values: of the other placeholders.
            wait_s: how long to wait for one.
            may: whether one may be given now.
        """
        until = time.monotonic() + wait_s
        with self._changed:
            wakes = self._wakes
            while True:
                claimed = sum(1 for _, theirs in self._in_work if theirs == target)
                # As many as are in work can stand before the first that is free.
                most = claimed + 1 if may() else 0
                for row in self._rows.all(f"{sql} LIMIT ?", time.time(), *values, most):
                    if (row["uid"], target) not in self._in_work:
                        self._in_work.add((row["uid"], target))
                        return row
                left = until - time.monotonic()
                if left <= 0 or self._wakes != wakes:
                    return None
                self._changed.wait(min(left, LOOK_S))

    def release(self, uid: str, target: str) -> None:
        """Let a row be claimed again, as its state then is; harmless twice."""
        with self._changed:
            self._in_work.discard((uid, target))
            self._changed.notify_all()

    def tell(self) -> None:
        """Let all who wait look again: there is another row."""
        with self._changed:
            self._changed.notify_all()

    def wake(self) -> None:
        """Let all who wait go without a row."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    @contextmanager
    def alone(self, uid: str) -> Iterator[None]:
        """One thread at a time for a film that comes in."""
        with self._changed:
            self._changed.wait_for(lambda: uid not in self._arriving)
            self._arriving.add(uid)
        try:
            yield
        finally:
            with self._changed:
                self._arriving.discard(uid)
                self._changed.notify_all()


def wait_after(attempts: int) -> float:
    """Seconds until the next try: 1, 2, 4, … at most a minute."""
    return min(2.0 ** min(attempts, 10), LONGEST_WAIT_S)
