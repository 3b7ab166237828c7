"""The node's rows in SQLite: one a film, one a film and target, one a note.

Every change is on the disk when its call returns (WAL, `synchronous = FULL`). The rows say what is
to be done; which films there are, the files say (`spool`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxrclient.errors import SpoolUnavailable
from cxrclient.files import new_private
from cxrclient.node.spool.records import Arrival, Outcome

_log = logging.getLogger(__name__)
VERSION = 1
"""Of the tables; one more with each change of them.

Rows of older tables with the same columns stay: a column that comes to mean something else needs
another name.
"""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS films (
    uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL,
    sop_class TEXT NOT NULL, pixels TEXT NOT NULL, sender TEXT NOT NULL, received_at REAL NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL DEFAULT 0,
    code TEXT, message TEXT,
    seq INTEGER UNIQUE, finished_at REAL, outcome TEXT, status TEXT, probability REAL,
    positive INTEGER, distance REAL, model TEXT, retired INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX IF NOT EXISTS films_to_do ON films (state, next_at, received_at);
CREATE INDEX IF NOT EXISTS films_by_fate ON films (status, code);
CREATE INDEX IF NOT EXISTS films_by_end ON films (state, retired, finished_at, uid);
CREATE INDEX IF NOT EXISTS films_by_day ON films
    (finished_at, seq, status, code, probability, positive, distance, model);
CREATE TABLE IF NOT EXISTS deliveries (
    uid TEXT NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL DEFAULT 0,
    ask_first INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0, code TEXT,
    message TEXT, delivered_at REAL,
    PRIMARY KEY (uid, target)) STRICT;
CREATE INDEX IF NOT EXISTS deliveries_to_do ON deliveries (target, state, next_at);
CREATE INDEX IF NOT EXISTS deliveries_by_time ON deliveries (state, delivered_at);
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, code TEXT NOT NULL, sender TEXT NOT NULL, uid TEXT,
    message TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS targets (name TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""
_OF_THE_FILES = ("films", "deliveries")
NOTES_KEPT = 10_000
Note = tuple[float, str, str, str | None, str]
"""When, code, sender, SOP Instance UID, message."""
CLOSE_FILM = (
    "UPDATE films SET state = 'done' WHERE uid = ? AND state = 'analysed' AND NOT EXISTS "
    "(SELECT 1 FROM deliveries WHERE deliveries.uid = films.uid "
    "AND deliveries.state != 'delivered')"
)
"""A film is done where every target has its results."""
# What is due later than any wait is due now: the clock was put back.
FILM_DUE = (
    "SELECT * FROM films WHERE state = 'waiting' AND next_at - ? NOT BETWEEN 0.001 AND 120 "
    "ORDER BY next_at, received_at"  # what failed gives way to what never did
)
DELIVERY_DUE = (
    "SELECT d.uid, d.ask_first, d.sent, d.attempts, f.study_uid, f.outcome, f.received_at "
    "FROM deliveries d JOIN films f ON f.uid = d.uid "
    "WHERE d.state = 'waiting' AND d.next_at - ? NOT BETWEEN 0.001 AND 120 AND d.target = ? "
    "ORDER BY d.next_at, f.received_at"
)
FILMS_ENDED = (
    "SELECT uid FROM films WHERE state IN ('analysed', 'done', 'failed') AND retired = 0 "
    "AND finished_at < ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE "
    "deliveries.uid = films.uid AND (deliveries.state = 'waiting' OR delivered_at >= ?1))"
)
"""Films with files that nothing was done with since a moment, and that nothing waits for."""
_FILMS_BY_STATE = (
    "SELECT CASE WHEN retired AND state IN ('analysed', 'failed') THEN 'removed' ELSE state END "
    "AS state, SUM(n) AS n FROM (SELECT state, retired, COUNT(*) AS n FROM films "
    "GROUP BY state, retired) GROUP BY 1"
)
_REMOVED = (
    "SELECT target, COUNT(*) AS n FROM deliveries WHERE state = 'refused' AND uid IN "
    "(SELECT uid FROM films WHERE state = 'analysed' AND retired = 1) GROUP BY target"
)
_BUSY_S = 30.0


def _mode(path: Path) -> str:
    """For reading only: where the disk is, SQLite cannot make its files beside, and need not."""
    beside = path.with_name(f"{path.name}-shm").exists()
    fixed = not beside and os.statvfs(path.parent).f_flag & os.ST_RDONLY
    return "ro&immutable=1" if fixed else "ro"


class Rows:
    """The rows of a spool, for several threads, and for another process beside.

    Args:
        path: of the database; made where it is missing.
        read_only: for a look at a spool that another process works with.
        make: for who holds the spool: tables that are missing, or of an older version, are made.

    Raises:
        sqlite3.Error: it is damaged, or the disk refuses.
        SpoolUnavailable: it is of another version.
    """

    def __init__(self, path: Path, *, read_only: bool = False, make: bool = False) -> None:
        where = f"{path.absolute().as_uri()}?mode={_mode(path) if read_only else 'rw'}"
        self._lock = threading.RLock()
        if make and not path.exists():
            new_private(path)  # and so are what SQLite writes beside it
        self._line = sqlite3.connect(
            where, uri=True, timeout=_BUSY_S, check_same_thread=False, isolation_level=None
        )
        self._line.row_factory = sqlite3.Row
        try:
            if not read_only:
                self._line.execute("PRAGMA journal_mode = WAL")
                self._line.execute("PRAGMA synchronous = FULL")
            self._require_version(path.parent, make=make)
        except (sqlite3.Error, SpoolUnavailable):
            self._line.close()
            raise

    def _require_version(self, spool: Path, *, make: bool) -> None:
        (version,) = self._line.execute("PRAGMA user_version").fetchone()
        if version < VERSION and make:
            # What is to be done the files say, too; what was sent, counts and notes rows alone do.
            others = () if self._has_columns() else _OF_THE_FILES
            drop = "".join(f"DROP TABLE IF EXISTS {table};" for table in others)
            if drop and self.one("SELECT 1 FROM sqlite_master WHERE name = 'films'"):
                _log.warning("The rows of the spool are of an older version, and are made anew.")
            self._line.executescript(
                f"BEGIN IMMEDIATE; {drop} {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT"
            )
        elif version < VERSION:
            raise SpoolUnavailable(
                f"The rows of the spool {spool} are of an older cxr-triton. Start the node with "
                "this one, which makes its own of them; until then look at them with that one."
            )
        elif version > VERSION:
            raise SpoolUnavailable(
                f"The rows of the spool {spool} are of a newer cxr-triton. Use that one. Or stop "
                "its node and remove node.sqlite: rows are made anew of the files, but for counts "
                "and notes."
            )

    def _has_columns(self) -> bool:
        """Whether the columns are those of today: tables and indexes may be missing beside."""
        with contextlib.closing(sqlite3.connect(":memory:")) as today:
            today.executescript(_SCHEMA)
            columns = "SELECT * FROM pragma_table_info(?)"
            return all(
                [*map(tuple, self.all(columns, table))]
                == today.execute(columns, (table,)).fetchall()
                for table in _OF_THE_FILES
            )

    def close(self) -> None:
        """Close the database; harmless twice."""
        with self._lock:
            self._line.close()

    def all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Give every row that a query finds."""
        with self._lock:
            return self._line.execute(sql, values).fetchall()

    def one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Give the first row that a query finds."""
        with self._lock:
            row: sqlite3.Row | None = self._line.execute(sql, values).fetchone()
            return row

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the block, on the disk at its end, or nothing."""
        with self._lock:
            self._line.execute("BEGIN IMMEDIATE")
            try:
                yield self._line
                self._line.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._line.execute("ROLLBACK")
                raise

    def add_film(self, arrival: Arrival, received_at: float, *counted: str) -> None:
        """Add a film that waits for a worker, and count it; one is replaced only if it failed."""
        with self.change() as line:
            line.execute(
                "INSERT INTO films (uid, study_uid, series_uid, sop_class, pixels, sender, "
                "received_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting') "
                "ON CONFLICT (uid) DO UPDATE SET study_uid = excluded.study_uid, "
                "series_uid = excluded.series_uid, sop_class = excluded.sop_class, "
                "pixels = excluded.pixels, sender = excluded.sender, "
                "received_at = excluded.received_at, state = 'waiting', "
                "attempts = 0, next_at = 0, code = NULL, message = NULL, outcome = NULL, "
                "status = NULL, retired = 0 WHERE films.state = 'failed'",
                (
                    *(arrival.uid, arrival.study_uid, arrival.series_uid, arrival.sop_class),
                    *(arrival.pixels, arrival.sender, received_at),
                ),
            )
            for name in counted:
                self._count(line, name)

    def finish_film(
        self, uid: str, outcome: Outcome, finished_at: float, targets: Sequence[str], *, again: bool
    ) -> None:
        """Say what became of a film, and where its results have to go.

        Args:
            uid: of the film.
            outcome: what became of it.
            finished_at: in seconds of Unix time.
            targets: each gets a delivery; none of a film that failed without results.
            again: whether targets may have the results already.
        """
        state = "failed" if outcome.status == "failed" else "analysed" if targets else "done"
        with self.change() as line:
            line.execute(
                "UPDATE films SET state = ?, code = ?, message = ?, finished_at = ?, outcome = ?, "
                "status = ?, probability = ?, positive = ?, distance = ?, model = ?, "
                "seq = (SELECT MAX(COALESCE(MAX(seq), 0) + 1, ?) FROM films) WHERE uid = ?",
                (
                    *(state, outcome.code, outcome.message, finished_at),
                    *(json.dumps(outcome.as_json()), outcome.status),
                    *(outcome.record.get("probability"), outcome.positive, outcome.distance),
                    # By the clock: rows made anew, or of a backup, number on where others ended.
                    *(outcome.record.get("model", {}).get("digest"), int(time.time() * 1000), uid),
                ),
            )
            if state == "analysed":
                line.executemany(
                    "INSERT OR IGNORE INTO deliveries (uid, target, state, ask_first) "
                    "VALUES (?, ?, 'waiting', ?)",
                    [(uid, target, int(again)) for target in targets],
                )

    def end_delivery(
        self, uid: str, target: str, state: str, code: str | None, message: str | None
    ) -> None:
        """Say that a delivery has ended; the film is done where it was the last one."""
        with self.change() as line:
            line.execute(
                "UPDATE deliveries SET state = ?, code = ?, message = ?, delivered_at = ? "
                "WHERE uid = ? AND target = ?",
                (state, code, message, time.time(), uid, target),
            )
            line.execute(CLOSE_FILM, (uid,))

    def set_targets(self, targets: Sequence[str]) -> None:
        """Keep in mind where results go now, for who looks from beside."""
        if {row["name"] for row in self.all("SELECT name FROM targets")} == set(targets):
            return  # a disk that is full does not prevent a start
        with self.change() as line:
            line.execute("DELETE FROM targets")
            line.executemany("INSERT INTO targets VALUES (?)", [(name,) for name in targets])

    def retire_film(self, uid: str) -> None:
        """Say that a film's files are gone."""
        with self.change() as line:
            line.execute("UPDATE films SET retired = 1 WHERE uid = ?", (uid,))

    def tell(self, notes: Iterable[Note], counts: Mapping[str, int]) -> None:
        """Add notes, of which the last ones are kept, and add to counts."""
        with self.change() as line:
            line.executemany(
                "INSERT INTO notes (at, code, sender, uid, message) VALUES (?, ?, ?, ?, ?)", notes
            )
            line.execute(
                "DELETE FROM notes WHERE id <= (SELECT MAX(id) FROM notes) - ?", (NOTES_KEPT,)
            )
            for name, more in counts.items():
                self._count(line, name, more)

    def note(self, code: str, sender: str, uid: str | None, message: str) -> None:
        """Note what befell a caller or an object that is no row, and count it."""
        self.tell([(time.time(), code, sender, uid, message)], {f"note:{code}": 1})

    def counts(self) -> dict[str, int]:
        """Give every count."""
        return {row["name"]: row["value"] for row in self.all("SELECT name, value FROM counts")}

    def films_by_state(self) -> dict[str, int]:
        """Count films; `removed` are those given up whose files are gone: nothing can be tried."""
        return {row["state"]: row["n"] for row in self.all(_FILMS_BY_STATE)}

    def deliveries_by_state(self) -> dict[str, dict[str, int]]:
        """Count deliveries by target and state; `removed` are those refused, likewise."""
        told: dict[str, dict[str, int]] = {}
        for row in self.all(
            "SELECT target, state, COUNT(*) AS n FROM deliveries GROUP BY target, state"
        ):
            told.setdefault(row["target"], {})[row["state"]] = row["n"]
        for row in self.all(_REMOVED):
            told[row["target"]]["refused"] -= row["n"]
            told[row["target"]]["removed"] = row["n"]
        return told

    @staticmethod
    def _count(line: sqlite3.Connection, name: str, more: int = 1) -> None:
        line.execute(
            "INSERT INTO counts VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )
