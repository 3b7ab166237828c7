"""The node's archiver: embeddings of finished films go into the archive, by a process apart."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from cxrclient.archive import load_patient_key
from cxrclient.node.options import NodeOptions
from cxrclient.node.spool.claims import wait_after
from cxrclient.node.spool.records import ARCHIVE, Delivery
from cxrclient.node.spool.spool import Spool
from cxrclient.node.work.child import Child, ChildEnded

_log = logging.getLogger(__name__)
TARGET = ARCHIVE
_BATCH = 32
_LOOK_S = 1.0
_IDLE_S = 5.0
_LIMIT_S = 1800.0  # a server that builds an index keeps writers waiting
_PROGRAM = "cxrclient.node.work.archive_process"


class Archiver:
    """Files the films of a spool until it is stopped; without `archive_uri` it does nothing.

    Args:
        options: of the node.
        spool: `archive` is one of its targets.
    """

    def __init__(self, options: NodeOptions, spool: Spool) -> None:
        self._uri, self._spool = options.archive_uri, spool
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archiver", daemon=True)
        self._child: Child | None = None
        self._said = ""

    def start(self) -> None:
        """Begin.

        Raises:
            UsageError: the site's patient key cannot be used.
        """
        if self._uri is not None:
            load_patient_key()
            self._thread.start()

    def stop(self, within_s: float) -> None:
        """File what is in hand, then end; what takes longer is given back to the spool."""
        self._stopping.set()
        self._spool.wake()
        if self._thread.ident is None:
            return
        self._thread.join(within_s)
        if self._thread.is_alive() and (child := self._child) is not None:
            child.kill()
        self._thread.join()

    def state(self) -> tuple[bool, str]:
        """Whether the archive took the last films, in a sentence."""
        said = self._said
        return not said, said or "It took the last films, or none has gone to it yet."

    def _run(self) -> None:
        most, idle_since, failed = _BATCH, time.monotonic(), 0
        while not self._stopping.is_set():
            batch: list[Delivery] = []
            try:
                batch = self._claimed(most)
                try:
                    if batch and not self._stopping.is_set():
                        self._file(batch)
                        most, idle_since = _BATCH, time.monotonic()
                    elif self._child is not None and time.monotonic() - idle_since > _IDLE_S:
                        self._child.ask({}, _LIMIT_S)
                        idle_since = float("inf")
                except ChildEnded as error:
                    most = 1  # one of them may be why
                    self._end_child(0)
                    if not self._stopping.is_set():
                        self._all(batch, "ARCHIVE_AWAY", f"The archive's process {error}.")
                failed = 0
            except Exception as error:  # a full disk, and whatever nobody thought of
                _log.error("The spool does not work (%s). It is tried again.", type(error).__name__)
                self._stopping.wait(wait_after(failed))
                failed += 1
            finally:
                for delivery in batch:
                    self._spool.give_back(delivery)
        self._end_child(_IDLE_S)

    def _claimed(self, most: int) -> list[Delivery]:
        batch: list[Delivery] = []
        while len(batch) < most:
            found = self._spool.claim_delivery(TARGET, 0.0 if batch else _LOOK_S)
            if found is None:
                break
            batch.append(found)
        return batch

    def _file(self, batch: list[Delivery]) -> None:
        """Let the archive have films.

        Raises:
            ChildEnded: the process is no more.
        """
        if self._child is None:
            self._child = child = Child(_PROGRAM)
            child.begin({"uri": self._uri})
        films = [
            {"film": str(self._spool.film_path(each.uid)), "record": each.outcome.record}
            for each in batch
        ]
        told = self._child.ask({"films": films}, _LIMIT_S)["films"]
        for delivery, each in zip(list(batch), told, strict=True):
            self._end(delivery, each)
            batch.remove(delivery)

    def _end(self, delivery: Delivery, told: dict[str, Any]) -> None:
        code, message = told["code"], told["message"]
        if code is None:
            self._said = ""
            self._spool.delivered(delivery)
        elif told["refuses"]:
            _log.error("%s: the archive does not take the film %s. %s", code, delivery.uid, message)
            self._spool.refuse(delivery, code, message)
        else:
            self._say(f"{code}: {message}")
            self._spool.delay(delivery, code, message)

    def _all(self, batch: list[Delivery], code: str, message: str) -> None:
        for delivery in list(batch):
            self._end(delivery, {"code": code, "message": message, "refuses": False})
            batch.remove(delivery)

    def _say(self, sentence: str) -> None:
        if sentence != self._said:  # once, not with each film
            _log.error("Films wait for the archive. %s", sentence)
            self._said = sentence

    def _end_child(self, within_s: float) -> None:
        child, self._child = self._child, None
        if child is not None:
            _log.debug("The archive's process %s.", child.end(within_s))
