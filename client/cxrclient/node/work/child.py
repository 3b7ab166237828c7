"""The node's side of a child process: started, asked a line at a time, ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import IO, Any, cast

from cxrclient.files import parse_json

_START_S = 120.0
_READ_BYTES = 1 << 16


class ChildEnded(Exception):
    """A child is no more; the message says how it ended."""


class Child:
    """A process that answers questions; belongs to the thread that made it, which outlives it.

    Only `kill` may be called by other threads.

    Args:
        module: its program; `line.answer_lines` is what it runs.
    """

    def __init__(self, module: str) -> None:
        one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
        self._process = subprocess.Popen(  # noqa: S603  # Python itself, no shell
            [sys.executable or "python3", "-P", "-m", module, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **one_thread},
        )
        # Both are pipes, as asked for.
        self._asks, self._answers = cast(
            tuple[IO[bytes], IO[bytes]], (self._process.stdin, self._process.stdout)
        )
        self._came = b""
        self.pid = self._process.pid

    def begin(self, told: dict[str, Any]) -> None:
        """Tell it what it works with, and wait until it can.

        Raises:
            ChildEnded: it cannot.
        """
        self.ask(told, _START_S)

    def ask(self, question: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Ask, and wait for the answer.

        Args:
            question: plain JSON values.
            limit_s: what takes longer is ended.

        Raises:
            ChildEnded: it is no more.
        """
        try:
            self._asks.write(json.dumps(question).encode() + b"\n")
            line = self._line(time.monotonic() + limit_s)
        except TimeoutError:
            self.end(0)
            raise ChildEnded(f"took longer than {limit_s:g} s") from None
        except OSError:
            line = b""
        if not line:
            raise ChildEnded(self.end(0))
        answer: dict[str, Any] = parse_json(line)
        return answer

    def _line(self, until: float) -> bytes:
        """The next line; empty where the child has ended."""
        number = self._answers.fileno()
        poll = select.poll()
        poll.register(number, select.POLLIN)
        while b"\n" not in self._came:
            left = until - time.monotonic()
            if left <= 0 or not poll.poll(1000 * left):
                raise TimeoutError
            came = os.read(number, _READ_BYTES)
            if not came:
                return b""
            self._came += came
        line, _, self._came = self._came.partition(b"\n")
        return line

    def kill(self) -> None:
        """End it at once, whatever it does; who waits for its answer gets ChildEnded."""
        self._process.kill()

    def end(self, within_s: float) -> str:
        """Close its line, wait for it, and end it for sure; says how it ended.

        Args:
            within_s: the time that it has to end by itself.
        """
        for stream in (self._asks, self._answers):
            with contextlib.suppress(OSError):
                stream.close()
        if within_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(within_s)
        self._process.kill()
        code = self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"
