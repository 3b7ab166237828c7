"""Counts and notes: in the rows, or in memory while the disk does not take them."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import Counter, deque

from cxrclient.node.spool.rows import NOTES_KEPT, Note, Rows


class Register:
    """Counts and notes of a spool, for many threads; a refusal is told even by a full disk.

    Args:
        rows: where they belong.
        view: likewise, for looking.
    """

    def __init__(self, rows: Rows, view: Rows) -> None:
        self._rows, self._view = rows, view
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._notes: deque[Note] = deque(maxlen=NOTES_KEPT)

    def count(self, name: str) -> None:
        """Add one to a count."""
        with self._lock:
            self._counts[name] += 1
        self.write()

    def note(self, code: str, sender: str, uid: str | None, message: str) -> None:
        """Note what befell a caller or an object, and count it."""
        with self._lock:
            self._notes.append((time.time(), code, sender, uid, message))
            self._counts[f"note:{code}"] += 1
        self.write()

    def counts(self) -> dict[str, int]:
        """Give every count, written or not."""
        with self._lock:
            return dict(Counter(self._view.counts()) + self._counts)

    def write(self) -> bool:
        """Write what is in memory alone, and tell whether the disk took it."""
        with self._lock, contextlib.suppress(sqlite3.Error):  # the log has it
            if self._counts:
                self._rows.tell(self._notes, self._counts)
                self._notes.clear()
                self._counts.clear()
            return True
        return False
