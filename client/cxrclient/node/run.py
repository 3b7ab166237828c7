"""The whole node: its parts put together, from start to SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Protocol, Self

from cxrclient.node.check import certificates
from cxrclient.node.descriptors import raise_limit
from cxrclient.node.notes import NOTES
from cxrclient.node.options import NodeOptions
from cxrclient.node.receive.listener import DicomListener
from cxrclient.node.send.couriers import Couriers
from cxrclient.node.send.peers import peers_of
from cxrclient.node.spool.records import NoRoom
from cxrclient.node.spool.retention import retire
from cxrclient.node.spool.room import WHILE_IT_RUNS_BYTES, keep_room_to_start
from cxrclient.node.spool.spool import Spool
from cxrclient.node.watch.drift import Drift
from cxrclient.node.web.listener import WebListener
from cxrclient.node.work.archiver import TARGET as ARCHIVE, Archiver
from cxrclient.node.work.workers import Workers

_log = logging.getLogger(__name__)
ENDS_WITHIN_S = 25.0
"""Films in hand have this long at SIGTERM; what is not done by then is done at the next start."""
_UPKEEP_S = 600.0
_DAY_S = 86_400.0


class _Part(Protocol):
    def start(self) -> None: ...

    def stop(self, within_s: float) -> None: ...


class Node:
    """A node that runs: films are taken from here on.

    Args:
        options: all that it is told.

    Raises:
        UsageError: a peer's address makes no sense.
        SpoolUnavailable: another node has the spool, or it cannot be written to.
        NodeError: a port is taken, a certificate cannot be read, or it would be open to anybody.
    """

    def __init__(self, options: NodeOptions) -> None:
        self._options = options
        with ExitStack() as started:
            peers = peers_of(options)
            targets = [peer.name for peer in peers]
            self.spool = started.enter_context(
                Spool(
                    options.spool,
                    [*targets, ARCHIVE] if options.archive_uri else targets,
                    min_free_bytes=options.min_free_bytes,
                    queue=options.queue,
                )
            )
            drift = Drift(self.spool, options.reference)
            self._workers = Workers(options, self.spool, drift.distance)
            self._couriers = Couriers(options, self.spool, peers)
            self._archiver = Archiver(options, self.spool) if options.archive_uri else None
            self._dicom = DicomListener(options, self.spool)
            self._web = WebListener(options, self.spool, self.readiness, drift)
            # Films are taken first, whatever is away; the last to start is the first to end.
            parts: list[_Part] = [self._web, self._couriers, self._workers, self._dicom]
            if self._archiver is not None:
                parts.insert(0, self._archiver)
            for part in parts:
                part.start()
                started.callback(self._stop, part)
            self._started = started.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Take no more films, finish those in hand, and let the spool go; harmless twice."""
        self._ends_at = time.monotonic() + ENDS_WITHIN_S
        self._dicom.stop_taking()
        self._web.stop_taking()
        self._started.close()

    def _stop(self, part: _Part) -> None:
        ends_at = getattr(self, "_ends_at", time.monotonic())  # a start that failed waits for none
        part.stop(max(ends_at - time.monotonic(), 0.1))

    @property
    def where(self) -> tuple[str, int, int, str]:
        """AE title, port for DICOM, port for HTTP, address."""
        return self._options.aet, self._dicom.port, self._web.port, self._options.host

    def readiness(self) -> dict[str, tuple[bool, str]]:
        """Tell of each part whether it works, in a sentence."""
        try:
            self.spool.require_room()
            spool = (True, "Films are taken.")
        except NoRoom as error:
            spool = (False, f"No film is taken: {error.code}.")
        told = {"spool": spool, "triton": self._workers.server_state()}
        told |= {f"peer {name}": state for name, state in self._couriers.states().items()}
        if self._archiver is not None:
            told[ARCHIVE] = self._archiver.state()
        return told

    def keep_up(self, until: threading.Event) -> None:
        """Do what comes up from time to time, until the event is set; what fails is done later."""
        due_s = 0.0
        while not until.wait(due_s):
            due_s = _UPKEEP_S
            try:
                while not until.is_set() and (
                    removed := retire(self.spool, self._options.keep_days * _DAY_S)
                ):
                    _log.info("The files of %d films were removed after their time.", removed)
            except Exception as error:  # a broken disk, and whatever nobody thought of
                what = f"{NOTES['UPKEEP_FAILED'][0]} ({type(error).__name__})"
                self.spool.note("UPKEEP_FAILED", sender="upkeep", message=what)
            keep_room_to_start(self.spool.folder, WHILE_IT_RUNS_BYTES)


def run_node(options: NodeOptions, began: Callable[[], None] = lambda: None) -> None:
    """Run a node until SIGTERM or SIGINT, then end it well.

    Args:
        options: as in Node.
        began: called once films are taken.

    Raises:
        CxrClientError: as Node.
    """
    raise_limit()
    asked = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        with Node(options) as node:
            for found in certificates(options):
                if found.verdict != "ok":
                    _log.warning("%s: %s. %s", found.subject, found.finding, found.mend or "")
            _log.info("Ready: %s takes films on port %d, HTTP is on port %d of %s.", *node.where)
            began()
            node.keep_up(asked)
            _log.info("Asked to end: no new film is taken, films in hand are finished.")
        _log.info("Ended.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
