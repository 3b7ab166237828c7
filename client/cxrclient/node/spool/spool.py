"""The spool: a film is whole on the disk, and has its row, before its sender hears yes.

The files are the truth: rows that are missing are made of them when the node starts.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

from cxrclient.errors import SpoolUnavailable
from cxrclient.files import cannot_write, private_folder, write_whole
from cxrclient.node.notes import NOTES
from cxrclient.node.options import DEFAULT_MIN_FREE_BYTES, DEFAULT_QUEUE
from cxrclient.node.spool.arrival import values_of
from cxrclient.node.spool.claims import LOOK_S, Claims, wait_after
from cxrclient.node.spool.disk import Disk
from cxrclient.node.spool.layout import (
    DATABASE,
    OUTCOME,
    film_path,
    make_folders,
    results_folder,
    write_outcome,
)
from cxrclient.node.spool.opening import hold, open_rows, restore
from cxrclient.node.spool.records import Arrival, Delivery, Job, NoRoom, Outcome, Taken
from cxrclient.node.spool.register import Register
from cxrclient.node.spool.room import Room, room_to_start, why
from cxrclient.node.spool.rows import DELIVERY_DUE, FILM_DUE, Rows

_log = logging.getLogger(__name__)
# A copy that could not be read does not keep a better one out.
_KNOWN = (
    "SELECT pixels, study_uid, outcome, retired, "
    "state = 'failed' AND (pixels != ? OR retired) AS outdone FROM films WHERE uid = ?"
)


class Spool:
    """A spool that this process alone works with; for many threads.

    `rows` are for who changes them; `view`, of its own connection, for who only looks.

    Args:
        folder: made where it is missing, for its owner alone.
        targets: names of the peers, and `archive`: where results go.
        min_free_bytes: as of `Room`.
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
        self._room, self._queue = Room(folder, min_free_bytes, self._note_low), queue
        self._held = ExitStack()
        try:
            with self._held as held:
                private_folder(folder)
                hold(held, folder)
                make_folders(folder)
                held.enter_context(room_to_start(folder))  # ends when SQLite's other files are gone
                self.rows = held.enter_context(contextlib.closing(open_rows(folder)))
                self.view = held.enter_context(
                    contextlib.closing(Rows(folder / DATABASE, read_only=True))
                )
                self._claims = Claims(self.rows)
                self._register = Register(self.rows, self.view)
                held.callback(self._register.write)
                self._disk = Disk(folder, self._register.write)
                self.rows.set_targets(self.targets)
                restore(self.rows, folder, self._targets_of)
                self._held = held.pop_all()
        except OSError as error:
            raise SpoolUnavailable(cannot_write(folder, error)) from error
        except sqlite3.Error as error:
            reason = why(folder, error)
            raise SpoolUnavailable(f"The spool {folder} does not work: {reason}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the spool go; harmless twice."""
        self._held.close()

    def require_room(self) -> None:
        """Refuse while the disk is nearly full or takes nothing, or too many films wait.

        Raises:
            NoRoom: `LOW_DISK`, `QUEUE_FULL`, `SPOOL_FAILED` or `NO_DESCRIPTORS`.
        """
        self._require_space()
        self._disk.require()

    def _require_space(self) -> None:
        try:
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise NoRoom.of(error) from error
        waiting = self.waiting()
        if free < self._room.least_for_film(waiting):
            raise NoRoom("LOW_DISK")
        if waiting >= self._queue:
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
        with self._claims.alone(arrival.uid):
            row = self.rows.one(_KNOWN, arrival.pixels, arrival.uid)
            if row is not None and not row["outdone"]:
                return self._taken_before(arrival, row, file)
            self._require_space()
            try:
                path = self.film_path(arrival.uid)
                (self.results_folder(arrival.uid) / OUTCOME).unlink(missing_ok=True)
                write_whole(path, file, secret=True)
                self.rows.add_film(arrival, time.time(), arrival.counted_as("stored"))
            except (OSError, sqlite3.Error) as error:
                _log.error("A film could not be written to the spool (%s).", type(error).__name__)
                if row is None or row["retired"]:
                    with contextlib.suppress(OSError):  # of a disk that is read-only by now
                        self.film_path(arrival.uid).unlink(missing_ok=True)
                raise self._disk.refuses(error) from error
        self._disk.takes()
        self._claims.tell()
        _log.info("%s is stored; it came from %s.", arrival.uid, arrival.sender)
        return "stored"

    def _taken_before(self, arrival: Arrival, row: sqlite3.Row, file: bytes | memoryview) -> Taken:
        if row["pixels"] == arrival.pixels or self._has_values(arrival.uid, row["outcome"], file):
            self._register.count(arrival.counted_as("again"))
            if row["study_uid"] != arrival.study_uid:
                self.note("STUDY_CHANGED", sender=arrival.sender, uid=arrival.uid)
            return "again"
        self.note("OTHER_PIXELS", sender=arrival.sender, uid=arrival.uid)
        self._register.count(arrival.counted_as("other_pixels"))
        return "other_pixels"

    def _has_values(self, uid: str, outcome: str | None, file: bytes | memoryview) -> bool:
        """Whether the film that is here has the decoded values of another file."""
        known = json.loads(outcome)["values"] if outcome else None
        if known is None:
            with contextlib.suppress(OSError):
                known = values_of(self.film_path(uid).read_bytes())
        return known is not None and known == values_of(bytes(file))

    def counts(self) -> dict[str, int]:
        """Give what was counted since the spool was made, also while the disk takes nothing."""
        return self._register.counts()

    def note(self, code: str, *, sender: str, uid: str | None = None, message: str = "") -> None:
        """Keep in mind what befell a caller or an object that is no film of ours, and log it.

        Args:
            code: of `NOTES`, or of a FilmError.
            sender: AE title or address.
            uid: SOP Instance UID, where it looks like one.
            message: more than the code's own sentence, without a word of the film's.
        """
        _log.warning("%s: from %s, object %s. %s", code, sender, uid or "unknown", message)
        self._register.note(code, sender, uid, message)

    def alone(self, uid: str) -> AbstractContextManager[None]:
        """Let no copy of a film be taken meanwhile."""
        return self._claims.alone(uid)

    def _note_low(self) -> None:
        self.note("WORK_WAITS", sender="workers", message=NOTES["WORK_WAITS"][0])

    def waiting(self) -> int:
        """How many films wait for a worker, or are with one."""
        row = self.rows.one("SELECT COUNT(*) AS n FROM films WHERE state = 'waiting'")
        return int(row["n"]) if row else 0

    def claim_film(self, wait_s: float = LOOK_S) -> Job | None:
        """Give the next film to analyse, which nobody else gets until `finish` or `put_off`.

        There is none while its results could fill the disk.

        Args:
            wait_s: how long to wait for one.
        """
        row = self._claims.claim("", FILM_DUE, (), wait_s, self._room.is_for_results)
        if row is None:
            return None
        arrival = Arrival(**{name: row[name] for name in Arrival.__dataclass_fields__})
        return Job(arrival, self.film_path(arrival.uid), row["attempts"])

    def results_folder(self, uid: str) -> Path:
        """Where a film's results belong; made by who writes the first one."""
        return results_folder(self.folder, uid)

    def film_path(self, uid: str) -> Path:
        """Where a film's file is."""
        return film_path(self.folder, uid)

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Say what became of a film; its objects are in `results_folder` by now.

        Raises:
            OSError: the disk refuses; the film is still claimed.
        """
        uid = job.arrival.uid
        write_outcome(self.folder, job.arrival, outcome)
        self.rows.finish_film(uid, outcome, time.time(), self._targets_of(outcome), again=False)
        _log.info("%s is analysed: %s.", uid, outcome.code or outcome.status)
        self._claims.release(uid, "")

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
        self._claims.release(uid, "")

    def release(self, job: Job) -> None:
        """Give a film back as it was: the node ends, or the server is away for all of them."""
        self._claims.release(job.arrival.uid, "")

    def claim_delivery(self, target: str, wait_s: float = LOOK_S) -> Delivery | None:
        """Give the next film whose results have to go to a target, as `claim_film` does.

        Args:
            target: a peer's name, or `archive`.
            wait_s: how long to wait for one.
        """
        row = self._claims.claim(target, DELIVERY_DUE, (target,), wait_s, self._room.is_for_rows)
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
        _log.info("%s: its results are in %s. %s", delivery.uid, delivery.target, message)

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
        self._claims.release(delivery.uid, delivery.target)

    def _end(self, delivery: Delivery, state: str, code: str | None, message: str) -> None:
        self.rows.end_delivery(delivery.uid, delivery.target, state, code, message or None)
        self._claims.release(delivery.uid, delivery.target)

    def give_back(self, delivery: Delivery) -> None:
        """Give a delivery back as it was: the node ends."""
        self._claims.release(delivery.uid, delivery.target)

    def wake(self) -> None:
        """Let all who wait for a claim go without one: the node ends, or what was away is back."""
        self._claims.wake()

    def _targets_of(self, outcome: Outcome) -> list[str]:
        return outcome.goes_to(self.targets)
