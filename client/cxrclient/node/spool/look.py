"""A look at a spool from beside the node that works with it, and `retry`."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

from cxrclient.errors import FATES, SpoolUnavailable
from cxrclient.node.notes import NOTES
from cxrclient.node.spool.rows import Rows
from cxrclient.node.spool.spool import DATABASE, OUTCOME, short

_TROUBLE = 50  # the latest rows that are listed


def spool_status(folder: Path) -> dict[str, Any]:
    """Tell how a spool stands, in plain JSON values.

    Returns:
        `films`: state → count; `deliveries`: target → state → count; `counts`: what was counted
        since the spool was made; `trouble`: the latest films, deliveries and notes that have a
        code, each with `uid`, `what` (`film`, `delivery`, `note`), `at`, `code`, `message`, `do`.

    Raises:
        SpoolUnavailable: there is none, or it cannot be read.
    """
    with _rows(folder, read_only=True) as rows:
        films = rows.all("SELECT state, COUNT(*) AS n FROM films GROUP BY state")
        deliveries: dict[str, dict[str, int]] = {}
        for row in rows.all(
            "SELECT target, state, COUNT(*) AS n FROM deliveries GROUP BY target, state"
        ):
            deliveries.setdefault(row["target"], {})[row["state"]] = row["n"]
        return {
            "films": {row["state"]: row["n"] for row in films},
            "deliveries": deliveries,
            "counts": rows.counts(),
            "trouble": _trouble(rows),
        }


def retry(folder: Path) -> int:
    """Let films that failed, and results that a peer refused, be tried again at once.

    Returns:
        How many films and deliveries.

    Raises:
        SpoolUnavailable: as `spool_status`.
    """
    with _rows(folder, read_only=False) as rows:
        failed = [row["uid"] for row in rows.all("SELECT uid FROM films WHERE state = 'failed'")]
        for uid in failed:
            (folder / "results" / short(uid) / uid / OUTCOME).unlink(missing_ok=True)
        with rows.change() as line:
            line.executemany(
                "UPDATE films SET state = 'waiting', attempts = 0, next_at = 0, code = NULL, "
                "message = NULL, outcome = NULL WHERE uid = ?",
                [(uid,) for uid in failed],
            )
            refused = line.execute(
                "UPDATE deliveries SET state = 'waiting', attempts = 0, next_at = 0, "
                "ask_first = 1, sent = 0 WHERE state = 'refused'"
            ).rowcount
            line.execute("UPDATE films SET next_at = 0 WHERE state = 'waiting'")
            line.execute("UPDATE deliveries SET next_at = 0 WHERE state = 'waiting'")
        return len(failed) + int(refused)


def what_to_do(code: str) -> str:
    """What a code's table says to do."""
    return (NOTES.get(code) or FATES.get(code) or ("", "See `cxrclient codes`."))[1]


def _trouble(rows: Rows) -> list[dict[str, Any]]:
    found = rows.all(
        "SELECT 'film' AS what, uid, NULL AS target, sender, code, message, "
        "COALESCE(finished_at, received_at) AS at FROM films WHERE code IS NOT NULL "
        "UNION ALL SELECT 'delivery', uid, target, NULL, code, message, "
        "COALESCE(delivered_at, ?) FROM deliveries WHERE code IS NOT NULL "
        "UNION ALL SELECT 'note', uid, NULL, sender, code, message, at FROM notes "
        "ORDER BY at DESC LIMIT ?",
        time.time(),
        _TROUBLE,
    )
    return [{**dict(row), "do": what_to_do(row["code"])} for row in found]


def _rows(folder: Path, *, read_only: bool) -> contextlib.closing[Rows]:
    path = folder / DATABASE
    if not path.is_file():
        raise SpoolUnavailable(f"There is no spool in {folder}. Name the folder of --spool.")
    try:
        return contextlib.closing(Rows(path, read_only=read_only))
    except sqlite3.Error as error:
        raise SpoolUnavailable(f"The spool in {folder} cannot be read: {error}.") from error
