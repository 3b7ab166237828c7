"""The spool: a film is whole on the disk, and has its row, before its sender hears yes.

    SPOOL/films/AB/UID.dcm            each film that was taken
    SPOOL/results/AB/UID/             its results; `outcome.json`, written last, makes them whole
    SPOOL/node.sqlite                 rows: what is to be done

The files are the truth: rows that are missing are made of them when the node starts. `AB` is the
start of a digest of the UID, so that no folder grows without end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from cxrclient.errors import FilmError, SpoolUnavailable
from cxrclient.files import (
    PART,
    cannot_write,
    only_one,
    parse_json,
    private_folder,
    sha256_of,
    write_whole,
)
from cxrclient.node.options import DEFAULT_MIN_FREE_BYTES, DEFAULT_QUEUE
from cxrclient.node.spool.arrival import arrival_of, same_pixels
from cxrclient.node.spool.records import STOW, Arrival, Delivery, Job, Outcome, Taken
from cxrclient.node.spool.rows import Rows

_log = logging.getLogger(__name__)
OUTCOME = "outcome.json"
DATABASE = "node.sqlite"
LOCK_WAIT_S = 5.0
LONGEST_WAIT_S = 60.0
_KNOWN = "SELECT uid, outcome IS NOT NULL AS done FROM films"
_LOOK_S = 1.0  # how often those who wait look whether another process (`node retry`) changed rows


class NoRoom(Exception):
    """No film is taken now.

    Attributes:
        code: `LOW_DISK`, `QUEUE_FULL` or `SPOOL_FAILED`, of `NOTES`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Spool:
    """A spool that this process alone works with; for many threads.

    `rows` are for who changes them. Who only looks, and may take long, uses `view`: a connection of
    its own, which holds nobody up.

    Args:
        folder: made where it is missing, for its owner alone.
        targets: names of the peers, and `archive`: where results go.
        min_free_bytes: below it no film is taken.
        queue: films that wait at most.

    Raises:
        SpoolUnavailable: another node has it, or it cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        targets: Sequence[str] = (),
        *,
        min_free_bytes: int = DEFAULT_MIN_FREE_BYTES,
        queue: int = DEFAULT_QUEUE,
    ) -> None:
        self.folder = folder
        self.targets = tuple(targets)
        self._min_free, self._queue = min_free_bytes, queue
        self._changed = threading.Condition()
        self._wakes = 0
        self._arriving: set[str] = set()
        self._in_work: set[tuple[str, str]] = set()  # (film, target), target "" of a Job
        self._held = ExitStack()
        try:
            with self._held as held:
                private_folder(folder)
                _hold(held, folder)
                for name in ("films", "results"):
                    private_folder(folder / name)
                write_whole(folder / ".writable", b"", secret=True)
                self.rows = held.enter_context(contextlib.closing(_open_rows(folder)))
                self.view = held.enter_context(
                    contextlib.closing(Rows(folder / DATABASE, read_only=True))
                )
                self._restore()
                self._held = held.pop_all()
        except OSError as error:
            raise SpoolUnavailable(cannot_write(folder, error)) from error
        except sqlite3.Error as error:
            raise SpoolUnavailable(f"The spool {folder} does not work: {error}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the spool go; harmless twice."""
        self._held.close()

    # --- films in ---------------------------------------------------------------------------

    def require_room(self) -> None:
        """Refuse while the disk is nearly full, or too many films wait.

        Raises:
            NoRoom: `LOW_DISK`, `QUEUE_FULL`, or `SPOOL_FAILED` where the disk does not even answer.
        """
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise NoRoom("SPOOL_FAILED") from error
        if free < self._min_free:
            raise NoRoom("LOW_DISK")
        if self.waiting() >= self._queue:
            raise NoRoom("QUEUE_FULL")

    def take(self, arrival: Arrival, file: bytes | memoryview) -> Taken:
        """Take a film: it survives whatever happens once this returns.

        Args:
            arrival: what its header says (`arrival_of`).
            file: the whole DICOM file.

        Returns:
            `stored`; `again` where it is here already; `other_pixels` where its UID is here with
            other pixels, and the first stays.

        Raises:
            NoRoom: it cannot be taken now, and nothing of it is left.
        """
        with self._alone(arrival.uid):
            row = self.rows.one("SELECT pixels FROM films WHERE uid = ?", arrival.uid)
            if row is not None:
                return self._taken_before(arrival, row["pixels"], file)
            self.require_room()
            try:
                path = self.film_path(arrival.uid)
                private_folder(path.parent)
                write_whole(path, file, secret=True)
                self.rows.add_film(arrival, time.time(), _received(arrival, "stored"))
            except (OSError, sqlite3.Error) as error:
                _log.error("A film could not be written to the spool (%s).", type(error).__name__)
                with contextlib.suppress(OSError):  # of a disk that is read-only by now
                    self.film_path(arrival.uid).unlink(missing_ok=True)
                raise NoRoom("SPOOL_FAILED") from error
        _log.info("%s came from %s.", arrival.uid, arrival.sender or "an unknown sender")
        self._tell()
        return "stored"

    def _taken_before(self, arrival: Arrival, pixels: str, file: bytes | memoryview) -> Taken:
        same = pixels == arrival.pixels
        if not same:
            with contextlib.suppress(OSError):  # it went with its retention: nothing to compare
                same = same_pixels(self.film_path(arrival.uid).read_bytes(), bytes(file))
        if same:
            self._count(_received(arrival, "again"))
            return "again"
        self.note("OTHER_PIXELS", sender=arrival.sender, uid=arrival.uid)
        self._count(_received(arrival, "other_pixels"))
        return "other_pixels"

    def _count(self, name: str) -> None:
        with contextlib.suppress(sqlite3.Error):  # a full disk counts nothing
            self.rows.count(name)

    @contextmanager
    def _alone(self, uid: str) -> Iterator[None]:
        """One sender at a time for a UID."""
        with self._changed:
            self._changed.wait_for(lambda: uid not in self._arriving)
            self._arriving.add(uid)
        try:
            yield
        finally:
            with self._changed:
                self._arriving.discard(uid)
                self._changed.notify_all()

    def note(self, code: str, *, sender: str, uid: str | None = None, message: str = "") -> None:
        """Keep in mind what befell a caller or an object that is no film of ours, and log it.

        Args:
            code: of `NOTES`, or of a FilmError.
            sender: AE title or address.
            uid: SOP Instance UID, where it looks like one.
            message: more than the code's own sentence, without a word of the film's.
        """
        _log.warning("%s: from %s, object %s. %s", code, sender, uid or "unknown", message)
        with contextlib.suppress(sqlite3.Error):  # a full disk takes no note; the log has it
            self.rows.note(code, sender, uid, message)

    def waiting(self) -> int:
        """How many films wait for a worker, or are with one."""
        row = self.rows.one("SELECT COUNT(*) AS n FROM films WHERE state = 'waiting'")
        return int(row["n"]) if row else 0

    # --- work -------------------------------------------------------------------------------

    def claim_film(self, wait_s: float = _LOOK_S) -> Job | None:
        """Give the next film to analyse, which nobody else gets until `finish` or `put_off`.

        Args:
            wait_s: how long to wait for one.
        """
        row = self._claim(
            "",
            "SELECT * FROM films WHERE state = 'waiting' AND next_at <= ? ORDER BY received_at",
            (),
            wait_s,
        )
        if row is None:
            return None
        arrival = Arrival(**{name: row[name] for name in Arrival.__dataclass_fields__})
        return Job(arrival, self.film_path(arrival.uid), row["attempts"])

    def results_folder(self, uid: str) -> Path:
        """Where a film's results belong; made by who writes the first one."""
        return self.folder / "results" / short(uid) / uid

    def film_path(self, uid: str) -> Path:
        """Where a film's file is."""
        return self.folder / "films" / short(uid) / f"{uid}.dcm"

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Say what became of a film; its objects are in `results_folder` by now.

        Raises:
            OSError: the disk refuses; the film is still claimed.
        """
        uid = job.arrival.uid
        self._write_outcome(job.arrival, outcome, retired=False)
        self.rows.finish_film(uid, outcome, time.time(), self._targets_of(outcome), again=False)
        _log.info("%s: %s %s", uid, outcome.status, outcome.code or "")
        self._release(uid, "")

    def put_off(
        self,
        job: Job,
        code: str,
        message: str,
        *,
        blame: bool = False,
        wait_s: float | None = None,
    ) -> None:
        """Let a film wait for its next try: ever longer, at most a minute.

        Args:
            job: as claimed.
            code: why.
            message: the sentence to it.
            blame: whether it may be the film's own fault, and counts as an attempt.
            wait_s: how long; else it goes by the attempts.
        """
        uid = job.arrival.uid
        at = time.time() + (wait_after(job.attempts) if wait_s is None else wait_s)
        with self.rows.change() as line:
            line.execute(
                "UPDATE films SET attempts = attempts + ?, next_at = ?, code = ?, message = ? "
                "WHERE uid = ?",
                (int(blame), at, code, message, uid),
            )
        self._release(uid, "")

    def release(self, job: Job) -> None:
        """Give a film back as it was: the node ends, or the server is away for all of them."""
        self._release(job.arrival.uid, "")

    # --- results out ------------------------------------------------------------------------

    def claim_delivery(self, target: str, wait_s: float = _LOOK_S) -> Delivery | None:
        """Give the next film whose results have to go to a target, as `claim_film` does.

        Args:
            target: a peer's name, or `archive`.
            wait_s: how long to wait for one.
        """
        row = self._claim(
            target,
            "SELECT d.uid, d.ask_first, d.sent, d.attempts, f.study_uid, f.outcome, f.received_at "
            "FROM deliveries d JOIN films f ON f.uid = d.uid "
            "WHERE d.state = 'waiting' AND d.next_at <= ? AND d.target = ? "
            "ORDER BY d.next_at, f.received_at",
            (target,),
            wait_s,
        )
        if row is None:
            return None
        return Delivery(
            uid=row["uid"],
            target=target,
            study_uid=row["study_uid"],
            outcome=Outcome.of_json(json.loads(row["outcome"])),
            folder=self.results_folder(row["uid"]),
            ask_first=bool(row["ask_first"]),
            sent=bool(row["sent"]),
            attempts=row["attempts"],
            received_at=row["received_at"],
        )

    def delivered(self, delivery: Delivery, code: str | None = None, message: str = "") -> None:
        """Say that the target has all results; with a code where it warned."""
        self._end(delivery, "delivered", code, message)
        _log.info("%s: its results are at %s.", delivery.uid, delivery.target)

    def refuse(self, delivery: Delivery, code: str, message: str) -> None:
        """Say that the target will not have a result, ever: only `retry` tries again."""
        self._end(delivery, "refused", code, message)

    def delay(
        self,
        delivery: Delivery,
        code: str,
        message: str,
        *,
        sent: bool = False,
        at_once: bool = False,
    ) -> None:
        """Let a delivery wait for its next try, for ever, at most a minute each time.

        Args:
            delivery: as claimed.
            code: why.
            message: the sentence to it.
            sent: whether the target said this time that it has all results.
            at_once: whether it may be claimed again now: the target as a whole is waited for.
        """
        wait_s = 0.0 if at_once else wait_after(delivery.attempts)
        with self.rows.change() as line:
            line.execute(
                "UPDATE deliveries SET attempts = attempts + ?, ask_first = 1, "
                "sent = MAX(sent, ?), next_at = ?, code = ?, message = ? "
                "WHERE uid = ? AND target = ?",
                (
                    *(int(not at_once), int(sent), time.time() + wait_s, code, message),
                    *(delivery.uid, delivery.target),
                ),
            )
        self._release(delivery.uid, delivery.target)

    def _end(self, delivery: Delivery, state: str, code: str | None, message: str) -> None:
        self.rows.end_delivery(delivery.uid, delivery.target, state, code, message or None)
        self._release(delivery.uid, delivery.target)

    def give_back(self, delivery: Delivery) -> None:
        """Give a delivery back as it was: the node ends."""
        self._release(delivery.uid, delivery.target)

    # --- upkeep -----------------------------------------------------------------------------

    def retire(self, keep_s: float) -> int:
        """Remove the files of films that are done for so long; what became of them stays.

        Returns:
            How many.
        """
        rows = self.rows.all(
            "SELECT * FROM films WHERE state = 'done' AND retired = 0 AND finished_at < ? "
            "LIMIT 1000",
            time.time() - keep_s,
        )
        for row in rows:
            uid, outcome = row["uid"], Outcome.of_json(json.loads(row["outcome"]))
            arrival = Arrival(**{name: row[name] for name in Arrival.__dataclass_fields__})
            self._write_outcome(arrival, outcome, retired=True)
            for each in outcome.objects:
                (self.results_folder(uid) / each.file).unlink(missing_ok=True)
            self.film_path(uid).unlink(missing_ok=True)
            with self.rows.change() as line:
                line.execute("UPDATE films SET retired = 1 WHERE uid = ?", (uid,))
        return len(rows)

    def wake(self) -> None:
        """Let all who wait for a claim go without one: the node ends, or what was away is back."""
        self._wakes += 1
        self._tell()

    # --- within -----------------------------------------------------------------------------

    def _targets_of(self, outcome: Outcome) -> list[str]:
        """The archive gets what has an embedding, peers what has objects."""
        embedded = "embedding" in outcome.record
        return [
            target
            for target in self.targets
            if (embedded if target == "archive" else bool(outcome.objects))
        ]

    def _claim(
        self, target: str, sql: str, values: tuple[Any, ...], wait_s: float
    ) -> sqlite3.Row | None:
        until = time.monotonic() + wait_s
        with self._changed:
            wakes = self._wakes
            while True:
                claimed = sum(1 for _, theirs in self._in_work if theirs == target)
                # As many as are in work can stand before the first that is free.
                rows = self.rows.all(f"{sql} LIMIT ?", time.time(), *values, claimed + 1)
                for row in rows:
                    if (row["uid"], target) not in self._in_work:
                        self._in_work.add((row["uid"], target))
                        return row
                left = until - time.monotonic()
                if left <= 0 or self._wakes != wakes:
                    return None
                self._changed.wait(min(left, _LOOK_S))

    def _release(self, uid: str, target: str) -> None:
        with self._changed:
            self._in_work.discard((uid, target))
            self._changed.notify_all()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _write_outcome(self, arrival: Arrival, outcome: Outcome, *, retired: bool) -> None:
        folder = self.results_folder(arrival.uid)
        private_folder(folder)
        told = {"arrival": asdict(arrival), "outcome": outcome.as_json(), "retired": retired}
        write_whole(folder / OUTCOME, json.dumps(told), secret=True)

    def _restore(self) -> None:
        """Make the rows that are missing, and let whoever may have something be asked first."""
        with self.rows.change() as line:
            line.execute("UPDATE deliveries SET ask_first = 1 WHERE state = 'waiting'")
        known = {row["uid"]: row["done"] for row in self.rows.all(_KNOWN)}
        for folder in (self.folder / "films").iterdir():
            for path in folder.iterdir():
                if path.suffix == PART:  # a kill while it was written: nobody heard yes
                    path.unlink()
                elif path.stem not in known:
                    self._restore_film(path)
        for folder in (self.folder / "results").glob("*/*"):
            if not known.get(folder.name):
                for part in folder.glob(f".*{PART}"):
                    part.unlink()
                if (folder / OUTCOME).is_file():
                    self._restore_outcome(folder / OUTCOME)

    def _restore_film(self, path: Path) -> None:
        try:
            arrival = arrival_of(path.read_bytes())
        except (FilmError, OSError):
            _log.error("A file in the spool is no film: %s", path.name)
            return
        self.rows.add_film(arrival, path.stat().st_mtime)

    def _restore_outcome(self, path: Path) -> None:
        try:
            told = parse_json(path.read_text(encoding="utf-8"))
            arrival, outcome = Arrival(**told["arrival"]), Outcome.of_json(told["outcome"])
        except (OSError, ValueError, KeyError, TypeError):
            _log.error("An outcome in the spool cannot be read: %s", path.parent.name)
            return
        at = path.stat().st_mtime
        targets = [] if told["retired"] else self._targets_of(outcome)
        self.rows.add_film(arrival, at)
        self.rows.finish_film(arrival.uid, outcome, at, targets, again=True)


def _received(arrival: Arrival, taken: Taken) -> str:
    """The count of what came over one of the ways in."""
    return f"received:{'stow' if arrival.sender.startswith(STOW) else 'dicom'}:{taken}"


def wait_after(attempts: int) -> float:
    """Seconds until the next try: 1, 2, 4, … at most a minute."""
    return min(2.0 ** min(attempts, 10), LONGEST_WAIT_S)


def short(uid: str) -> str:
    """The folder, of 256, that a film belongs to."""
    return sha256_of(uid.encode())[:2]


def _hold(held: ExitStack, folder: Path) -> None:
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
                raise
            time.sleep(0.1)
        else:
            return


def _open_rows(folder: Path) -> Rows:
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
            path.with_name(DATABASE + ending).replace(path.with_name(f"damaged-{DATABASE}{ending}"))
    return Rows(path)
