"""A decoder that may crash, in a process of its own.

Triton 2.51 never starts a Python model's process again once it has died, and goes on saying that it
is ready (measured: half of all films fail where one of two has died). So what a damaged stream can
crash runs where only itself is lost.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable

__all__ = ["in_own_process"]

_TIMEOUT_S = 30.0
_PIECE_BYTES = 1 << 20


def in_own_process(work: Callable[[], bytes], timeout_s: float = _TIMEOUT_S) -> bytes:
    """Run `work` in a fork of this process and give what it returns.

    Args:
        work: touches no threads, no files and nothing of what this process shares with others.
        timeout_s: what takes longer is ended.

    Raises:
        ValueError: it raised, crashed, or took too long.
    """
    if not hasattr(os, "fork"):  # Windows, where no server runs
        return work()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_end(work, reading, writing)
    os.close(writing)
    answer = None
    try:
        answer = _all_of(reading, time.monotonic() + timeout_s)
    finally:
        os.close(reading)
        if answer is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if answer is None or status != 0:
        raise ValueError("the decoder crashed, failed or took too long")
    return answer


def _work_and_end(work: Callable[[], bytes], reading: int, writing: int) -> None:
    """Never returns: the fork must not run what its parent has on its stack."""
    status = 1
    try:
        os.close(reading)
        answer = memoryview(work())
        while answer:
            answer = answer[os.write(writing, answer[:_PIECE_BYTES]) :]
        status = 0
    finally:
        os._exit(status)


def _all_of(reading: int, deadline_s: float) -> bytes | None:
    """Everything up to the end; None where that takes longer than until the deadline."""
    pieces: list[bytes] = []
    while True:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or not select.select([reading], [], [], left_s)[0]:
            return None
        piece = os.read(reading, _PIECE_BYTES)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
