"""Opening a spool: held by one node, its rows sound, missing ones made of its files."""

from __future__ import annotations

import contextlib
import json
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
from cxrclient.node.spool.layout import DATABASE, OUTCOME, remove_files
from cxrclient.node.spool.records import Arrival, Outcome
from cxrclient.node.spool.rows import CLOSE_FILM, FILMS_ENDED, Rows

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
    nothing = contextlib.suppress(sqlite3.Error, SpoolUnavailable)
    with nothing, contextlib.closing(Rows(folder / DATABASE)) as rows:
        rows.note("SECOND_NODE", socket.gethostname(), None, NOTES["SECOND_NODE"][0])


def open_rows(folder: Path) -> Rows:
    """The rows; damaged ones are put aside, those with older columns dropped: `restore` does."""
    path = folder / DATABASE
    try:
        rows = Rows(path, make=True)
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
    return Rows(path, make=True)


def restore(rows: Rows, spool: Path, targets_of: Targets) -> None:
    """Make the rows that are missing, and let whoever may have something be asked first.

    Results that still have to go anywhere go to the targets that there are now.

    Args:
        rows: those that are there.
        spool: folder of the spool.
        targets_of: where the results of an outcome have to go.

    Raises:
        OSError: the disk refuses.
        sqlite3.Error: likewise.
    """
    with rows.change() as line:
        line.execute("UPDATE deliveries SET ask_first = 1 WHERE state = 'waiting'")
    known = {row["uid"]: row["done"] for row in rows.all(_KNOWN)}
    gone = {f"{row['uid']}.dcm" for row in rows.all("SELECT uid FROM films WHERE retired = 1")}
    kept = set()
    for folder in (spool / "films").iterdir():
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix == PART or path.name in gone:  # a kill before its row: nobody heard yes
                path.unlink()
            elif path.suffix == ".dcm":
                kept.add(path.stem)
                if path.stem not in known:
                    _restore_film(rows, path)
    _finish_retention(rows, spool, kept)
    outcomes = []
    for folder in (spool / "results").glob("*/*"):
        if not known.get(folder.name):
            for part in folder.glob(f".*{PART}"):
                part.unlink()
            if (folder / OUTCOME).is_file():
                outcomes.append(folder / OUTCOME)
    for path in sorted(outcomes, key=lambda path: path.stat().st_mtime):
        _restore_outcome(rows, spool, path, kept, targets_of)
    _redirect(rows, targets_of)


def _finish_retention(rows: Rows, spool: Path, kept: set[str]) -> None:
    """Take the rest of films that were being removed at a kill, or on a disk that was full."""
    for row in rows.all(FILMS_ENDED, float("inf")):
        if row["uid"] not in kept:
            remove_files(spool, row["uid"])
            rows.retire_film(row["uid"])


def _redirect(rows: Rows, targets_of: Targets) -> None:
    """Let what waits go to the targets of now: a peer may have moved, gone or come."""
    now = {
        row["uid"]: set(targets_of(Outcome.of_json(json.loads(row["outcome"]))))
        for row in rows.all(
            "SELECT uid, outcome FROM films WHERE state = 'analysed' AND retired = 0"
        )
    }
    gone = {
        (row["uid"], row["target"])
        for row in rows.all("SELECT uid, target FROM deliveries WHERE state != 'delivered'")
        if row["uid"] in now and row["target"] not in now[row["uid"]]
    }
    for target in {target for _, target in gone}:
        _log.warning("Results that waited for %s go to the targets of now.", target)
        rows.note("PEER_GONE", target, None, NOTES["PEER_GONE"][0])
    with rows.change() as line:
        line.executemany("DELETE FROM deliveries WHERE uid = ? AND target = ?", sorted(gone))
        line.executemany(
            "INSERT OR IGNORE INTO deliveries (uid, target, state, ask_first) "
            "VALUES (?, ?, 'waiting', 1)",
            [(uid, target) for uid, targets in now.items() for target in sorted(targets)],
        )
        line.executemany(CLOSE_FILM, [(uid,) for uid in now])


def _restore_film(rows: Rows, path: Path) -> None:
    try:
        arrival = arrival_of(path.read_bytes())
    except (FilmError, OSError):
        _log.error("A file in the spool is no film: %s", path.name)
        return
    rows.add_film(arrival, path.stat().st_mtime)


def _restore_outcome(
    rows: Rows, spool: Path, path: Path, kept: set[str], targets_of: Targets
) -> None:
    try:
        told = parse_json(path.read_text(encoding="utf-8"))
        arrival, outcome = Arrival(**told["arrival"]), Outcome.of_json(told["outcome"])
    except (OSError, ValueError, KeyError, TypeError):
        _log.error("An outcome in the spool cannot be read: %s", path.parent.name)
        return
    at = path.stat().st_mtime
    files = [path.with_name(each.file) for each in outcome.objects]
    removed = arrival.uid not in kept and not (files and all(each.exists() for each in files))
    rows.add_film(arrival, at)
    targets = [] if removed else targets_of(outcome)
    rows.finish_film(arrival.uid, outcome, at, targets, again=True)
    if removed:
        remove_files(spool, arrival.uid)
        rows.retire_film(arrival.uid)
