"""Notes about callers, who try again and again: the same only once a minute."""

from __future__ import annotations

import threading
import time

from cxrclient.node.notes import NOTES
from cxrclient.node.spool.spool import Spool

AGAIN_S = 60.0
_MOST_KEPT = 1000


class CallerNotes:
    """Notes what befell callers, for many threads.

    Args:
        spool: that has the notes.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._noted: dict[tuple[str, str, str], float] = {}

    def note(self, code: str, sender: str, sentence: str = "") -> None:
        """Note it, unless it was noted within the last minute.

        Args:
            code: of `NOTES`.
            sender: AE title or address.
            sentence: what is to be said beside the code's own.
        """
        if self.due(code, sender, sentence):
            self.write(code, sender, sentence)

    def due(self, code: str, sender: str, sentence: str = "") -> bool:
        """Tell whether it has to be noted now; whoever is told so writes it."""
        key, now = (code, sender, sentence), time.monotonic()
        with self._lock:
            if now - self._noted.get(key, -AGAIN_S) < AGAIN_S:
                return False
            if len(self._noted) > _MOST_KEPT:
                self._noted.clear()
            self._noted[key] = now
            return True

    def write(self, code: str, sender: str, sentence: str = "") -> None:
        """Note it, however often."""
        self._spool.note(code, sender=sender, message=f"{NOTES[code][0]} {sentence}".strip())
