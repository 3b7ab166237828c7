"""The node's workers: each a thread that hands films to a process of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cxrclient.errors import FilmError
from cxrclient.node.options import NodeOptions
from cxrclient.node.spool.claims import LONGEST_WAIT_S, wait_after
from cxrclient.node.spool.records import Job, Outcome
from cxrclient.node.spool.spool import Spool
from cxrclient.node.work.child import Child, ChildEnded
from cxrclient.node.work.server import Fault, Server

_log = logging.getLogger(__name__)
MOST_TRIES = 3
"""How often a film may end its process before it has failed."""
_LOOK_S = 1.0
_LOOK_LIMIT_S = 60.0
_SHORT_LIFE_S = 30.0
_BEYOND_SERVER_S = 120.0  # decoding (30 s at most, twice), results, and a busy machine
_PROGRAM = "cxrclient.node.work.film_process"

Distance = Callable[[Sequence[float], str], float | None]
"""Of an embedding, and the digest of its model."""


class Workers:
    """Analyses the films of a spool until it is stopped.

    Args:
        options: of the node.
        spool: where films come from, and results go.
        distance: to the nearest training film.
        limit_s: what takes longer over a film is ended.
    """

    def __init__(
        self,
        options: NodeOptions,
        spool: Spool,
        distance: Distance | None = None,
        *,
        limit_s: float | None = None,
    ) -> None:
        self._spool, self._distance = spool, distance
        self._told = {
            "server": options.server,
            "timeout_s": options.timeout_s,
            "gsps": options.gsps,
            "secured": dict(options.secured),
        }
        # A call that nobody waits for any more is waited for by the next film, too.
        self._limit_s = limit_s or 2 * options.timeout_s + _BEYOND_SERVER_S
        self._server = Server(options.server)
        self._stopping = threading.Event()
        self._tries: Counter[str] = Counter()  # of films that wait, without blame
        self._answers_before: dict[str, int] = {}  # by the server, when a film failed first
        self._children: set[Child] = set()
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{number}", daemon=True)
            for number in range(options.workers)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float) -> None:
        """Finish films in hand, then end; what takes longer is given back to the spool."""
        self._stopping.set()
        self._server.wake()
        self._spool.wake()
        until = time.monotonic() + within_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        for child in list(self._children):
            child.kill()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def server_state(self) -> tuple[bool, str]:
        """Whether Triton takes films now, and one sentence to it."""
        return self._server.state()

    @property
    def pids(self) -> list[int]:
        """Of the processes."""
        return [child.pid for child in list(self._children)]

    def _run(self) -> None:
        deaths = 0
        # One that dies is followed at once; one that dies at its start again and again is not.
        while not self._stopping.wait(wait_after(deaths - 2) if deaths > 1 else 0):
            born, child = time.monotonic(), None
            try:
                child = self._child()
                self._work(child)
            except (ChildEnded, OSError) as error:
                deaths = deaths + 1 if time.monotonic() - born < _SHORT_LIFE_S else 1
                _log.warning("A worker's process %s.", error)
                if child is None and not self._children:
                    what = f"No worker starts: its process {error}. See the node's log."
                    self._server.away("WORKER_DIED", what)
            finally:
                if child is not None:
                    self._children.discard(child)
                    child.end(_LOOK_S)

    def _child(self) -> Child:
        child = Child(_PROGRAM)
        self._children.add(child)
        try:
            if self._stopping.is_set():  # `stop` may have looked before
                raise ChildEnded("was not needed")
            child.begin(self._told)
        except BaseException:
            self._children.discard(child)
            child.end(0)
            raise
        return child

    def _work(self, child: Child) -> None:
        """Take films one after the other.

        Raises:
            ChildEnded: the process is no more.
        """

        def look() -> Fault | None:
            told = child.ask({}, _LOOK_LIMIT_S)
            return None if told["fate"] == "finished" else (told["code"], told["message"])

        failed = 0
        while not self._stopping.is_set():
            job = None
            try:
                if not self._server.admits(look, _LOOK_S):
                    continue
                job = self._spool.claim_film(_LOOK_S)
                if job is not None and not self._stopping.is_set():
                    self._analyse(child, job)
                    job, failed = None, 0
            except ChildEnded:
                job = None
                raise
            except Exception as error:  # a full disk, and whatever nobody thought of
                _log.error("The spool does not work (%s). It is tried again.", type(error).__name__)
                self._stopping.wait(wait_after(failed))
                failed += 1
            finally:
                if job is not None:
                    self._spool.release(job)

    def _analyse(self, child: Child, job: Job) -> None:
        question = {
            "film": str(job.path),
            "results": str(self._spool.results_folder(job.arrival.uid)),
        }
        try:
            told = child.ask(question, self._limit_s)
        except ChildEnded as error:
            if self._stopping.is_set():
                self._spool.release(job)
            else:
                self._blame(job, "WORKER_DIED", f"The process that analysed it {error}.")
            raise
        self._take(job, told)

    def _take(self, job: Job, told: dict[str, Any]) -> None:
        """Do with a film what its answer says (`film_process.Fate`)."""
        fate = told["fate"]
        if fate == "finished":
            self._finish(job, Outcome.of_json(told["outcome"]))
            return
        code, message = str(told["code"]), str(told["message"])
        if fate == "away":
            self._spool.release(job)
            self._server.away(code, message)
        elif fate == "blamed":
            self._blame(job, code, message)
        else:
            if fate == "paused" and not self._others_are_answered(job):
                self._server.pause(code, message)
            self._put_off(job, code, message)

    def _others_are_answered(self, job: Job) -> bool:
        """Whether the server has answered films since it first failed this one."""
        answers = self._server.answers
        return self._answers_before.setdefault(job.arrival.uid, answers) < answers

    def _finish(self, job: Job, outcome: Outcome) -> None:
        if outcome.status != "failed":
            self._server.answered()
        embedding = outcome.record.get("embedding")
        if embedding is not None and self._distance:
            digest = outcome.record["model"]["digest"]
            outcome = replace(outcome, distance=self._distance(embedding, digest))
        self._spool.finish(job, outcome)
        self._tries.pop(job.arrival.uid, None)
        self._answers_before.pop(job.arrival.uid, None)

    def _put_off(self, job: Job, code: str, message: str) -> None:
        """Let a film wait through no fault of its own: others come first, ever longer."""
        tries = self._tries[job.arrival.uid]
        self._tries[job.arrival.uid] += 1
        _log.warning("%s: the film %s is tried again. %s", code, job.arrival.uid, message)
        wait_s = min(wait_after(tries + 1), LONGEST_WAIT_S)
        self._spool.put_off(job, code, message, wait_s=wait_s)

    def _blame(self, job: Job, code: str, message: str) -> None:
        _log.error("%s: the film %s, try %d.", code, job.arrival.uid, job.attempts + 1)
        if job.attempts + 1 < MOST_TRIES:
            self._spool.put_off(job, code, message, blame=True)
            return
        error = FilmError(code, message, status="failed", path=str(job.path))
        self._finish(job, Outcome("failed", code, message, error.record()))
