"""What is known of the server, for all workers together: whether films may go to it now."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from cxrclient.node.spool.claims import LONGEST_WAIT_S

_log = logging.getLogger(__name__)
_LOOK_S = 1.0
"""How often it is looked for while it is away."""
_IDLE_S = 5.0
"""How often it is asked while there is nothing to do: `node check` and `/health/ready` want it."""

Fault = tuple[str, str]
"""Code and sentence."""


class Server:
    """Whether films may go to Triton: it is there, and it is not given time.

    Args:
        address: for what is said of it.
    """

    def __init__(self, address: str) -> None:
        self._changed = threading.Condition()
        self._said = f"Nobody has asked the server at {address} yet: the workers start."
        self._works = f"The server at {address} works."
        self._is_there = self._looking = False
        self._next_look = self._free_at = 0.0
        self._failures = 0  # since a film was answered
        self.answers = 0

    def state(self) -> tuple[bool, str]:
        """Whether it takes films now, and one sentence to it."""
        with self._changed:
            return self._admits(time.monotonic()), self._said

    def admits(self, look: Callable[[], Fault | None], wait_s: float) -> bool:
        """Whether a film may go to it; looks for it where nobody has for a while.

        Args:
            look: asks it; gives what is wrong.
            wait_s: how long to wait for it.
        """
        with self._changed:
            now = time.monotonic()
            if self._looking or now < max(self._next_look, self._free_at):
                if not self._admits(now):
                    due = max(self._next_look, self._free_at) - now
                    self._changed.wait(min(wait_s, max(due, 0.01)))
                return self._admits(time.monotonic())
            self._looking = True
        fault: Fault | None = ("SERVER", "It was not asked to the end.")
        try:
            fault = look()
        finally:
            with self._changed:
                self._looking = False
                self._next_look = time.monotonic() + (_LOOK_S if fault else _IDLE_S)
                self._tell(fault)
        return fault is None

    def away(self, code: str, message: str) -> None:
        """Let no film go to it before it was seen again."""
        with self._changed:
            if self._is_there:
                # One that is seen, and fails films all the same, is given ever more time.
                self._pause(first_s=0.0)
                self._next_look = 0.0
            self._tell((code, message))

    def pause(self, code: str, message: str) -> None:
        """Give it time: ever more, until a film is answered."""
        with self._changed:
            if self._admits(time.monotonic()):
                self._pause(first_s=1.0)
                self._said = f"{code}: {message}"
                _log.warning("The server gets no film for a while. %s", self._said)

    def answered(self) -> None:
        """Take note that it has answered a film."""
        with self._changed:
            now = time.monotonic()
            self.answers += 1
            self._failures, self._free_at, self._next_look = 0, 0.0, now + _IDLE_S
            self._tell(None)

    def wake(self) -> None:
        """Let all who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def _admits(self, now: float) -> bool:
        return self._is_there and now >= self._free_at

    def _pause(self, first_s: float) -> None:
        wait_s = min(2.0**self._failures, LONGEST_WAIT_S) if self._failures else first_s
        self._free_at = time.monotonic() + wait_s
        self._failures += 1

    def _tell(self, fault: Fault | None) -> None:
        before, self._is_there = self._is_there, fault is None
        self._said = self._works if fault is None else ": ".join(fault)
        if before != self._is_there:
            _log.log(logging.WARNING if fault else logging.INFO, "%s", self._said)
        self._changed.notify_all()
