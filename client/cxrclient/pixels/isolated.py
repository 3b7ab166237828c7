"""A decoder that may crash, in a process of its own.

Triton 2.51 never starts a Python model's process again once it has died, and goes on saying that it
is ready (measured: half of all films fail where one of two has died). So what a damaged stream can
crash runs where only itself is lost.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
from collections.abc import Callable

from cxrclient.faults import is_ours

__all__ = ["in_own_process"]

_TIMEOUT_S = 30.0
_PIPE_BYTES = 1 << 16
_FAILED, _FAULT_OF_OURS = 1, 2


def in_own_process(
    work: Callable[[], bytes],
    size: int,
    timeout_s: float = _TIMEOUT_S,
    refuse: Callable[[str], bool] = lambda said: False,
) -> bytes | mmap.mmap:
    """Run `work` in a fork of this process and give what it returns.

    Args:
        work: touches no threads, no files and nothing of what this process shares with others.
        size: bytes that it returns, at least one.
        timeout_s: what takes longer is ended.
        refuse: whether what it said on file descriptor 2 makes its answer worthless. Decoders in C
            say there, and nowhere else, that part of the image is missing. Nobody else hears it.

    Raises:
        ValueError: it raised, crashed, took too long, was refused, or returned another number of
            bytes.
        ImportError: it raised what `is_ours`.
        MemoryError: somebody killed it.
    """
    if not hasattr(os, "fork"):  # Windows, where no server runs; nobody listens to what it says
        return work()
    answer = mmap.mmap(-1, size)  # shared with the fork
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_end(work, answer, refuse)
    os.close(writing)
    # Nothing is ever written: the pipe's end is that of the child, which alone can write.
    ended = bool(select.select([reading], [], [], timeout_s)[0])
    os.close(reading)
    if not ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if ended and os.waitstatus_to_exitcode(status) == _FAULT_OF_OURS:
        raise ImportError("the decoder's process had no memory, or not all that it imports")
    if ended and os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
        raise MemoryError("the decoder's process was killed, as the system does for want of memory")
    if not ended or status != 0:
        raise ValueError("the decoder crashed, failed or took too long")
    return answer


def _work_and_end(
    work: Callable[[], bytes], answer: mmap.mmap, refuse: Callable[[str], bool]
) -> None:
    """Never returns: the fork must not run what its parent has on its stack."""
    status = _FAILED
    try:
        reading, writing = os.pipe()
        # Who says more than a pipe holds is not kept waiting: it loses the rest.
        os.set_blocking(writing, False)
        os.set_blocking(reading, False)
        os.dup2(writing, 2)
        decoded = work()
        if len(decoded) == len(answer) and not refuse(_said(reading)):
            answer[:] = decoded
            status = 0
    except Exception as error:
        status = _FAULT_OF_OURS if is_ours(error) else _FAILED
    finally:
        os._exit(status)


def _said(reading: int) -> str:
    try:
        return os.read(reading, _PIPE_BYTES).decode(errors="replace")
    except BlockingIOError:  # nothing
        return ""
