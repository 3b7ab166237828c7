"""What a run of any length has to remember, in constant memory."""

from __future__ import annotations

import sqlite3

from cxrclient.files import short_hash

_CACHE_KIB = 2048


class Ledger:
    """Text → text, in a temporary file without a name: it goes with the process, however it ends.

    Keys are kept as hashes of 128 bits: two of a billion collide with a chance of 1e-21.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # "" is SQLite's temporary file
        # Nothing in it outlives the process, so nothing has to reach the disk in order.
        for pragma in (f"cache_size=-{_CACHE_KIB}", "journal_mode=OFF", "synchronous=OFF"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute(
            "CREATE TABLE entry (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
        )

    def __getitem__(self, key: str) -> str | None:
        row = self._database.execute("SELECT value FROM entry WHERE key = ?", (_hash(key),))
        found = row.fetchone()
        return None if found is None else found[0].decode("utf-8", "surrogateescape")

    def __setitem__(self, key: str, value: str) -> None:
        encoded = value.encode("utf-8", "surrogateescape")
        self._database.execute("REPLACE INTO entry VALUES (?, ?)", (_hash(key), encoded))

    def close(self) -> None:
        """Give the file back; harmless twice."""
        self._database.close()


def _hash(key: str) -> bytes:
    return short_hash(key.encode("utf-8", "surrogateescape"), 16)
