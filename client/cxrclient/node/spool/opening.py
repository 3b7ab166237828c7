"""Opening a spool: held by one node, its rows sound, missing ones made of its files."""

from __future__ import annotations

import contextlib
import logging
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cxrclient.errors import FilmError, SpoolUnavailable
from cxrclient.files import PART, only_one, parse_json, take_place
from cxrclient.node.notes import NOTES
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.layout import DATABASE, OUTCOME
from cxrclient.node.spool.records import Arrival, Outcome
from cxrclient.node.spool.rows import Rows

_log = logging.getLogger(__name__)
LOCK_WAIT_S = 5.0
Targets = Callable[[Outcome], list[str]]
_KNOWN = "SELECT uid, outcome IS NOT NULL AS done FROM films"


def hold(held: ExitStack, folder: Path) -> None:
    """Hold the spool; one that a killed node still has is free at once, as a rule."""
    busy = SpoolUnavailable(
        f"Another node works with the spool {folder}. Stop it, or name another folder."
    )
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            held.enter_context(only_one(folder, busy))
        except SpoolUnavailable:
            if time.monotonic() > until:
                _note_second(folder)
                raise
            time.sleep(0.1)
        else:
            return


def _note_second(folder: Path) -> None:
    """Let `node status` tell that another node was started on the spool, and ended."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(Rows(folder / DATABASE)) as rows:
        rows.note("SECOND_NODE", socket.gethostname(), None, NOTES["SECOND_NODE"][0])


def open_rows(folder: Path) -> Rows:
    """The rows; damaged ones are put aside, and made anew of the files."""
    path = folder / DATABASE
    try:
        rows = Rows(path)
        told = rows.one("PRAGMA quick_check(1)")
        if told is not None and told[0] == "ok":
            return rows
        rows.close()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, read-only: not damaged
            raise
    _log.error("The rows of the spool are damaged. They are made anew of its files.")
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            damaged = path.with_name(f"damaged-{DATABASE}{ending}")
            take_place(path.with_name(DATABASE + ending), damaged)
    return Rows(path)


def restore(rows: Rows, spool: Path, targets_of: Targets) -> None:
    """Make the rows that are missing, and let whoever may have something be asked first.

    Args:
        rows: that there are.
        spool: folder of the spool.
        targets_of: where the results of an outcome have to go.

    Raises:
        OSError: the disk refuses.
        sqlite3.Error: likewise.
    """
    with rows.change() as line:
        line.execute("UPDATE deliveries SET ask_first = 1 WHERE state = 'waiting'")
    known = {row["uid"]: row["done"] for row in rows.all(_KNOWN)}
    for folder in (spool / "films").iterdir():
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix == PART:  # a kill while it was written: nobody heard yes
                path.unlink()
            elif path.suffix == ".dcm" and path.stem not in known:
                _restore_film(rows, path)
    for folder in (spool / "results").glob("*/*"):
        if not known.get(folder.name):
            for part in folder.glob(f".*{PART}"):
                part.unlink()
            if (folder / OUTCOME).is_file():
                _restore_outcome(rows, folder / OUTCOME, targets_of)


def _restore_film(rows: Rows, path: Path) -> None:
    try:
        arrival = arrival_of(path.read_bytes())
    except (FilmError, OSError):
        _log.error("A file in the spool is no film: %s", path.name)
        return
    rows.add_film(arrival, path.stat().st_mtime)


def _restore_outcome(rows: Rows, path: Path, targets_of: Targets) -> None:
    try:
        told = parse_json(path.read_text(encoding="utf-8"))
        arrival, outcome = Arrival(**told["arrival"]), Outcome.of_json(told["outcome"])
    except (OSError, ValueError, KeyError, TypeError):
        _log.error("An outcome in the spool cannot be read: %s", path.parent.name)
        return
    at = path.stat().st_mtime
    targets = [] if told["retired"] else targets_of(outcome)
    rows.add_film(arrival, at)
    rows.finish_film(arrival.uid, outcome, at, targets, again=True)
