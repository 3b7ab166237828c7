"""A look at a spool from beside the node that works with it, and `retry`."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrclient import errors
from cxrclient.errors import SpoolUnavailable
from cxrclient.fates import FATES
from cxrclient.files import cannot_write, only_one
from cxrclient.node.notes import NOTES
from cxrclient.node.spool.disk import try_to_write
from cxrclient.node.spool.layout import DATABASE, OUTCOME, film_path, results_folder
from cxrclient.node.spool.records import Outcome
from cxrclient.node.spool.room import why
from cxrclient.node.spool.rows import Rows

_FAILED = "SELECT uid FROM films WHERE state = 'failed' AND retired = 0 AND is_kept(uid)"
_WITH_A_CODE = """
WITH said AS (
SELECT 'film' AS what,
    CASE WHEN state IN ('analysed', 'done') THEN COALESCE(status, state)
        WHEN retired AND state = 'failed' THEN 'removed' ELSE state END AS state,
    code, NULL AS target, sender, uid, message,
    COALESCE(finished_at, received_at) AS at, CASE state WHEN 'waiting' THEN next_at END AS next_at
FROM films WHERE code IS NOT NULL
UNION ALL SELECT 'delivery',
    CASE WHEN f.retired AND d.state = 'refused' THEN 'removed' ELSE d.state END,
    d.code, d.target, NULL, d.uid, d.message,
    COALESCE(d.delivered_at, f.finished_at), CASE d.state WHEN 'waiting' THEN d.next_at END
FROM deliveries d JOIN films f ON f.uid = d.uid WHERE d.code IS NOT NULL
UNION ALL SELECT 'note', 'note', code, NULL, sender, uid, message, at, NULL FROM notes)
"""
_TROUBLE = 50  # the latest rows that are listed
_DO_REMOVED = {
    "film": "Nothing: its file was removed after --keep-days. Sent again, it is tried anew.",
    "delivery": "Nothing: its files were removed after --keep-days. Mend the cause for others.",
}
_MENDS: dict[str, str] = {
    kind.code: kind.mend
    for kind in (getattr(errors, name) for name in errors.__all__)
    if hasattr(kind, "mend")
}


def spool_status(folder: Path) -> dict[str, Any]:
    """Tell how a spool stands, in plain JSON values.

    Returns:
        `films`: state → count; `deliveries`: target → state → count; `counts`: what was counted
        since the spool was made; `trouble`: the latest films, deliveries and notes that have a
        code, each with `uid`, `what` (`film`, `delivery`, `note`), `state`, `at`, `code`,
        `message`, `do`; first a `spool` whose node cannot write to it now;
        `causes`: all of them, those with the same `what`, `state`, `code` and `who` (target or
        sender) as one, with `count`, `first_at` and `at`, `next_at` where it is tried again by
        itself, and `uid` and `message` of the latest; `running`: whether a node works with it.
        The state `removed` is of what was given up and whose files are gone: nothing can be tried.

    Raises:
        SpoolUnavailable: there is none, or it cannot be read.
    """
    with _rows(folder, read_only=True) as rows:
        running = is_held(folder)
        refused = _refused(folder) if running else []
        return {
            "films": rows.films_by_state(),
            "deliveries": rows.deliveries_by_state(),
            "counts": rows.counts(),
            "trouble": refused + _trouble(rows),
            "causes": refused + _causes(rows),
            "running": running,
        }


def is_held(folder: Path) -> bool:
    """Whether a node works with a spool now.

    Raises:
        OSError: the folder cannot be opened.
    """
    try:
        with only_one(folder, SpoolUnavailable("held")):
            return False
    except SpoolUnavailable:
        return True


def retry(folder: Path, delivered_since: float | None = None) -> int:
    """Let films that failed, and results that a peer refused, be tried again at once.

    What left the disk with its retention is not.

    Args:
        folder: of the spool.
        delivered_since: since when results that were delivered are brought again, in seconds of
            Unix time: the targets of now are asked, and get what they lack, also those that were
            none then. None: they are not.

    Returns:
        How many films and deliveries.

    Raises:
        SpoolUnavailable: as `spool_status`.
    """
    with _rows(folder, read_only=False) as rows:
        with rows.change() as line:  # no file is removed while it lasts
            line.create_function("is_kept", 1, lambda uid: film_path(folder, uid).exists())
            failed = [row["uid"] for row in rows.all(_FAILED)]
            for uid in failed:
                (results_folder(folder, uid) / OUTCOME).unlink(missing_ok=True)
            line.executemany(
                "UPDATE films SET state = 'waiting', attempts = 0, next_at = 0, code = NULL, "
                "message = NULL, outcome = NULL WHERE uid = ?",
                [(uid,) for uid in failed],
            )
            added = _add_new_targets(rows, line, delivered_since)
            changed = line.execute(
                "UPDATE deliveries SET state = 'waiting', attempts = 0, next_at = 0, "
                "ask_first = 1, sent = 0 WHERE (state = 'refused' OR (state = 'delivered' AND "
                "delivered_at >= ?)) AND target IN (SELECT name FROM targets) "
                "AND uid IN (SELECT uid FROM films WHERE retired = 0 AND is_kept(uid))",
                (float("inf") if delivered_since is None else delivered_since,),
            ).rowcount
            line.execute(
                "UPDATE films SET state = 'analysed' WHERE state = 'done' AND uid IN "
                "(SELECT uid FROM deliveries WHERE state = 'waiting')"
            )
            line.execute("UPDATE films SET next_at = 0 WHERE state = 'waiting'")
            line.execute("UPDATE deliveries SET next_at = 0 WHERE state = 'waiting'")
        return len(failed) + added + int(changed)


def _add_new_targets(rows: Rows, line: sqlite3.Connection, delivered_since: float | None) -> int:
    """Let results that others got since a moment go to targets that were none then, too."""
    if delivered_since is None:
        return 0
    targets = [row["name"] for row in rows.all("SELECT name FROM targets")]
    found = rows.all(
        "SELECT uid, outcome FROM films WHERE retired = 0 AND is_kept(uid) AND uid IN "
        "(SELECT uid FROM deliveries WHERE state = 'delivered' AND delivered_at >= ?)",
        delivered_since,
    )
    return line.executemany(
        "INSERT OR IGNORE INTO deliveries (uid, target, state, ask_first) "
        "VALUES (?, ?, 'waiting', 1)",
        [
            (row["uid"], target)
            for row in found
            for target in Outcome.of_json(json.loads(row["outcome"])).goes_to(targets)
        ],
    ).rowcount


def what_to_do(code: str) -> str:
    """What a code's table, or its error, says to do; of the gate's codes, where to read it."""
    for table in (NOTES, FATES):
        if code in table:
            return table[code][1]
    return _MENDS.get(code, f"See `cxrclient codes {code}`.")


def _refused(folder: Path) -> list[dict[str, Any]]:
    """What a disk that takes nothing leaves no row of."""
    try:
        try_to_write(folder)
    except PermissionError:  # whose look it is may not; the node may
        return []
    except OSError as error:
        code, now = "SPOOL_FAILED", time.time()
        told = {"what": "spool", "state": "failed", "code": code, "do": what_to_do(code)}
        seen = {"uid": None, "message": cannot_write(folder, error), "at": now, "first_at": now}
        return [told | seen | dict.fromkeys(("target", "sender", "who", "next_at")) | {"count": 1}]
    return []


def _trouble(rows: Rows) -> list[dict[str, Any]]:
    found = rows.all(
        f"{_WITH_A_CODE} SELECT what, state, uid, target, sender, code, message, at "  # noqa: S608 - ours
        "FROM said ORDER BY at DESC LIMIT ?",
        _TROUBLE,
    )
    return [{**dict(row), "do": _what_to_do(row)} for row in found]


def _causes(rows: Rows) -> list[dict[str, Any]]:
    # Of the row with the latest `at`, SQLite gives uid and message, too ("bare columns").
    found = rows.all(
        f"{_WITH_A_CODE} SELECT what, state, code, COALESCE(target, sender) AS who, "  # noqa: S608 - ours
        "COUNT(*) AS count, MIN(at) AS first_at, MIN(next_at) AS next_at, MAX(at) AS at, uid, "
        "message FROM said GROUP BY what, state, code, who ORDER BY MAX(at) DESC"
    )
    return [{**dict(row), "do": _what_to_do(row)} for row in found]


def _what_to_do(row: sqlite3.Row) -> str:
    return _DO_REMOVED[row["what"]] if row["state"] == "removed" else what_to_do(row["code"])


@contextlib.contextmanager
def _rows(folder: Path, *, read_only: bool) -> Iterator[Rows]:
    path = folder / DATABASE
    if not path.is_file():
        raise SpoolUnavailable(f"There is no spool in {folder}. Name the folder of --spool.")
    try:
        with contextlib.closing(Rows(path, read_only=read_only)) as rows:
            yield rows
    except (sqlite3.Error, OSError) as error:
        reason = why(folder, error)
        raise SpoolUnavailable(f"The spool in {folder} cannot be used: {reason}.") from error
