"""Decoders in a process of their own, which lives on: a film that crashes one costs that film only.

Triton 2.51 never starts a Python model's process again once it has died, and goes on saying that it
is ready (measured: half of all films fail where one of two has died). So no decoder of compressed
pixels runs in it. A film has a budget of time and memory here; a process that dies or is ended over
it is followed by a new one. A fork for each film would cost 4.4 ms, asking one that waits 0.3 ms.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import pickle
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from cxrclient.errors import TooLarge
from cxrclient.faults import is_ours

__all__ = ["end_workers", "in_worker"]

_TIMEOUT_S = 30.0
# The largest films take OpenCV, libjpeg and OpenJPEG 0.5 to 0.8 GB.
_BUDGET_BYTES = 3 << 29
_MESSAGE_BYTES = 1 << 16
_PIPE_BYTES = 1 << 16
_SAID_BYTES = 1 << 14
_IDLE_S = 5.0  # how often one that waits looks whether its parent is still there
_OK, _FAILED, _NO_MEMORY, _OURS = range(4)


class _Answer(NamedTuple):
    """What comes back, beside a file with the pixels."""

    status: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    said: str = ""


def in_worker(
    work: Callable[..., npt.NDArray[Any]],
    *arguments: Any,
    timeout_s: float = _TIMEOUT_S,
    refuse: Callable[[str], bool] = lambda said: False,
) -> npt.NDArray[Any]:
    """Run `work` in another process and give the array that it returns.

    Args:
        work: a function of a module; it touches nothing that this process shares with others.
        arguments: what it is given; they are pickled.
        timeout_s: what takes longer is ended.
        refuse: whether what it said on file descriptor 2 makes its answer worthless. Decoders in C
            say there, and nowhere else, that part of the image is missing. Nobody else hears it.

    Raises:
        ValueError: it raised, crashed, took too long, or was refused.
        TooLarge: it took more memory than any film.
        ImportError: it raised what `is_ours`.
        MemoryError: somebody killed it.
    """
    if not hasattr(os, "memfd_create"):  # no Linux, so no server: nobody hears what it says
        return work(*arguments)
    worker = _workers.taken()
    try:
        with _file_with(pickle.dumps((work, arguments), protocol=5)) as question:
            answer, pixels = worker.asked(question, timeout_s)
    except BaseException:
        worker.end()
        raise
    _workers.idle.append(worker)
    if answer.status == _OURS:
        raise ImportError("the decoder's process has not all that it imports")
    if answer.status == _NO_MEMORY:
        raise TooLarge("decoding it takes more memory than any film does; export the film again")
    if answer.status == _FAILED or refuse(answer.said):
        raise ValueError("the decoder failed")
    return np.frombuffer(pixels, dtype=answer.dtype).reshape(answer.shape)


class _Worker:
    """The parent's end of a process that waits for work."""

    def __init__(self) -> None:
        self._line, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        self._id = os.fork()
        if self._id == 0:
            _serve(its_end, parent)
        its_end.close()

    def asked(self, question: io.FileIO, timeout_s: float) -> tuple[_Answer, bytes | mmap.mmap]:
        """Ask, and wait for the answer; who raises here is ended."""
        try:
            socket.send_fds(self._line, [b"?"], [question.fileno()])
            if not select.select([self._line], [], [], timeout_s)[0]:
                raise ValueError("the decoder took too long")
            said, descriptors, _, _ = socket.recv_fds(self._line, _MESSAGE_BYTES, 1)
        except (BrokenPipeError, ConnectionResetError):
            said, descriptors = b"", []
        if not said:
            _, status = os.waitpid(self._id, 0)
            self._id = 0
            if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
                raise MemoryError("the decoder was killed, as the system does for want of memory")
            raise ValueError("the decoder crashed")
        answer = _Answer(*pickle.loads(said))  # noqa: S301  # our own process wrote it
        with io.FileIO(descriptors[0]) as file:
            if answer.status != _OK:
                return answer, b""
            return answer, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._line.close()
        if self._id:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._id, signal.SIGKILL)
            os.waitpid(self._id, 0)
            self._id = 0

    def forget(self) -> None:
        """Let go of it in a fork of the parent, whose process it is not."""
        self._line.close()


class _Workers:
    """Those that wait for work: one for each thread that decodes, at most."""

    def __init__(self) -> None:
        self.idle: list[_Worker] = []

    def taken(self) -> _Worker:
        """Give one that waits, or a new one."""
        with contextlib.suppress(IndexError):
            return self.idle.pop()
        # All that it may need is imported here: a lock on a module that another thread holds while
        # it forks would never be let go of there.
        import gdcm  # type: ignore[import-untyped]  # noqa: F401
        import simplejpeg  # noqa: F401

        import cxrclient.pixels.pydicom_parts  # noqa: F401

        return _Worker()

    def forget(self) -> None:
        """Begin anew in a fork of this process."""
        for worker in self.idle:
            worker.forget()
        self.idle = []


_workers = _Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.forget)


def end_workers() -> None:
    """End those that wait; the next film starts a new one."""
    while _workers.idle:
        _workers.idle.pop().end()


def _file_with(content: Any) -> io.FileIO:
    """Give an unnamed file in memory."""
    file = io.FileIO(os.memfd_create("film"), "w+")
    view = memoryview(content).cast("B")
    while view:
        view = view[file.write(view) :]
    return file


def _serve(line: socket.socket, parent: int) -> NoReturn:
    """Work until the parent ends; never returns, for what is on the stack is the parent's."""
    try:
        said = _by_itself(line.fileno())
        while os.getppid() == parent:
            if not select.select([line], [], [], _IDLE_S)[0]:
                continue
            message, descriptors, _, _ = socket.recv_fds(line, 1, 1)
            if not message:
                break
            # Should the parent end while this works, nobody else would end it.
            signal.setitimer(signal.ITIMER_REAL, 2 * _TIMEOUT_S)
            _reply(line, descriptors[0], said)
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        os._exit(0)


def _by_itself(line: int) -> int:
    """Let go of all that the parent has open, and bound the memory.

    Args:
        line: what stays open.

    Returns:
        Where to read what is said on file descriptor 2.
    """
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent's whole group
    for ending in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(ending, signal.SIG_DFL)
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number != line:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(number)
    nothing = os.open(os.devnull, os.O_RDWR)
    reading, writing = os.pipe()
    # Who says more than a pipe holds is not kept waiting: it loses the rest.
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    for mine, standard in ((nothing, 0), (nothing, 1), (writing, 2)):
        os.dup2(mine, standard)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    bound = pages * resource.getpagesize() + _BUDGET_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (bound, most))
    return reading


def _reply(line: socket.socket, question: int, said: int) -> None:
    """Do what is asked in the file `question`, and send the answer."""
    with contextlib.suppress(BlockingIOError):
        os.read(said, _PIPE_BYTES)
    status, pixels = _OK, np.empty(0, np.uint8)
    try:
        with io.FileIO(question) as film, mmap.mmap(film.fileno(), 0, prot=mmap.PROT_READ) as view:
            work, arguments = pickle.loads(view)  # noqa: S301  # our own process wrote it
        pixels = np.ascontiguousarray(work(*arguments))
    except MemoryError:
        status = _NO_MEMORY
    except BaseException as error:  # panics in Rust are no Exceptions
        status = _OURS if is_ours(error) else _FAILED
    words = b""
    with contextlib.suppress(BlockingIOError):
        words = os.read(said, _PIPE_BYTES)
    words = words[:_SAID_BYTES]
    answer = _Answer(status, pixels.dtype.str, pixels.shape, words.decode(errors="replace"))
    with _file_with(pixels.reshape(-1)) as file:
        socket.send_fds(line, [pickle.dumps(tuple(answer))], [file.fileno()])
