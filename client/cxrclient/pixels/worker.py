"""Decoders in a process of their own, which lives on: a film that crashes one costs that film only.

Triton 2.51 never starts a Python model's process again once it has died, and goes on saying that it
is ready (measured: half of all films fail where one of two has died). So no decoder of compressed
pixels runs in it. A film has a budget of time and memory here; a process that dies or is ended over
it is followed by a new one. Films and pixels pass through memory that both share and keep.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import pickle
import select
import signal
import socket
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from cxrclient.errors import TooLarge
from cxrclient.faults import is_ours
from cxrclient.files import MemoryUse, keep_freed_memory

__all__ = ["end_workers", "in_worker"]

_TIMEOUT_S = 30.0
# The largest films take OpenCV, libjpeg and OpenJPEG 0.5 to 0.8 GB.
_BUDGET_BYTES = 3 << 29
_LARGE_BYTES = 8 << 20  # of a stream
_KEPT_BYTES = 64 << 20  # of shared memory, between films
_MESSAGE_BYTES, _PIPE_BYTES, _SAID_BYTES = 1 << 17, 1 << 16, 1 << 14
_IDLE_S = 5.0  # how often one that waits looks whether its parent is still there
_OK, _FAILED, _NO_MEMORY, _OURS = range(4)


class _Answer(NamedTuple):
    """What comes back, beside the pixels."""

    status: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    said: str = ""


def in_worker(
    work: Callable[..., npt.NDArray[Any]],
    stream: bytes,
    *arguments: Any,
    timeout_s: float = _TIMEOUT_S,
    refuse: Callable[[str], bool] = lambda said: False,
) -> npt.NDArray[Any]:
    """Run `work` in another process and give the array that it returns.

    Args:
        work: a function of a module; it touches nothing that this process shares with others.
        stream: its first argument.
        arguments: the others, small; they are pickled.
        timeout_s: what takes longer is ended.
        refuse: whether what it said on file descriptor 2 makes its answer worthless. Decoders in C
            say there, and nowhere else, that part of the image is missing. Nobody else hears it.

    Returns:
        Memory that is shared with the process, which works for others once nobody has the array.

    Raises:
        ValueError: it raised, crashed, took too long, or was refused.
        TooLarge: it took more memory than any film.
        ImportError: it raised what `is_ours`.
        MemoryError: somebody killed it.
    """
    if not _can_share():
        return work(stream, *arguments)
    worker = _workers.taken()
    try:
        answer, pixels = worker.asked(stream, pickle.dumps((work, arguments)), timeout_s)
    except BaseException:
        worker.end()
        raise
    weakref.finalize(pixels, _workers.give_back, worker).atexit = False
    if answer.status == _OURS:
        raise ImportError("the decoder's process has not all that it imports")
    if answer.status == _NO_MEMORY:
        raise TooLarge("decoding it takes more memory than any film does; export the film again")
    if answer.status == _FAILED or refuse(answer.said):
        raise ValueError("the decoder failed")
    return pixels.reshape(answer.shape)


def _can_share() -> bool:
    """Whether memory can be shared: on Linux, where files, which it counts as, may be large."""
    if not hasattr(os, "memfd_create"):  # so no server: nobody hears what the decoder says
        return False
    import resource

    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


class _Shared:
    """Memory of two processes; either may make it larger."""

    def __init__(self) -> None:
        self._file = os.memfd_create("film")
        self.view = memoryview(b"")

    def grown(self, size: int = 1) -> memoryview:
        """Give all of it, `size` bytes at least, and never none."""
        if os.fstat(self._file).st_size < size:
            os.ftruncate(self._file, size)
        size = os.fstat(self._file).st_size
        if len(self.view) < size:
            # Only the view of a process knows this mapping: it lasts as long as that does.
            self.view = memoryview(mmap.mmap(self._file, size))
        return self.view

    def taken(self, size: int) -> bytes:
        """Give its first bytes, and let go of the memory of many, which their pixels will need."""
        content = bytes(self.grown()[:size])
        if size > _LARGE_BYTES:
            os.ftruncate(self._file, 0)
        return content

    def close(self) -> None:
        """Let go of it; who has pixels in it keeps these."""
        os.close(self._file)
        self.view = memoryview(b"")

    def fileno(self) -> int:
        """Its file."""
        return self._file


class _Worker:
    """The parent's end of a process that waits for work."""

    def __init__(self) -> None:
        self._line, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._shared = _Shared()
        parent = os.getpid()
        self._id = os.fork()
        if self._id == 0:
            _serve(its_end, self._shared, parent)
        its_end.close()

    @property
    def is_large(self) -> bool:
        """Whether it keeps more memory than is worth keeping."""
        return len(self._shared.view) > _KEPT_BYTES

    def asked(
        self, stream: bytes, question: bytes, timeout_s: float
    ) -> tuple[_Answer, npt.NDArray[Any]]:
        """Ask, and wait for answer and pixels; who raises here is to be ended."""
        self._shared.grown(len(stream) or 1)[: len(stream)] = stream
        said = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._line.send(len(stream).to_bytes(8, "little") + question)
            if not _has_come(self._line, timeout_s):
                raise ValueError("the decoder took too long")
            said = self._line.recv(_MESSAGE_BYTES)
        if not said:
            if self._ended_with() == -signal.SIGKILL:
                raise MemoryError("the decoder was killed, as the system does for want of memory")
            raise ValueError("the decoder crashed")
        answer = _Answer(*pickle.loads(said))  # noqa: S301  # our own process wrote it
        dtype, count = np.dtype(answer.dtype), int(np.prod(answer.shape, dtype=np.int64))
        return answer, np.frombuffer(self._shared.grown().toreadonly(), dtype, count)

    @property
    def waits(self) -> bool:
        """Whether it is still there: nobody has ended it meanwhile."""
        return not _has_come(self._line, 0)

    def end(self) -> None:
        """End the process, whatever it does."""
        self.forget()
        if self._id:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._id, signal.SIGKILL)
            self._ended_with()

    def _ended_with(self) -> int | None:
        """Wait for the end; None where somebody else has waited for it, or the system has."""
        process, self._id = self._id, 0
        with contextlib.suppress(ChildProcessError):
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        return None

    def forget(self) -> None:
        """Let go of it, as a fork of the parent does, whose process it is not."""
        self._line.close()
        self._shared.close()


class _Workers:
    """Those that wait for work: one for each thread that decodes, at most."""

    def __init__(self) -> None:
        self.idle: list[_Worker] = []
        self._parent = os.getpid()

    def taken(self) -> _Worker:
        """Give one that waits, or a new one."""
        with contextlib.suppress(IndexError):
            while not (worker := self.idle.pop()).waits:
                worker.end()
            return worker
        # All that it may need is imported here: a lock on a module that another thread holds while
        # it forks would never be let go of there.
        import gdcm  # type: ignore[import-untyped]  # noqa: F401
        import simplejpeg  # noqa: F401

        import cxrclient.pixels.pydicom_parts  # noqa: F401

        return _Worker()

    def give_back(self, worker: _Worker) -> None:
        """Let one wait whose pixels nobody has any more."""
        if self._parent != os.getpid():
            worker.forget()
        elif worker.is_large:
            worker.end()
        else:
            self.idle.append(worker)

    def forget(self) -> None:
        """Begin anew in a fork of this process."""
        for worker in self.idle:
            worker.forget()
        self.idle, self._parent = [], os.getpid()


_workers = _Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.forget)


def _has_come(line: socket.socket, timeout_s: float) -> bool:
    """Wait for a message, or for the other side's end."""
    poll = select.poll()  # it takes any descriptor; select() takes none from 1,024 on
    poll.register(line, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))


def end_workers() -> None:
    """End those that wait; the next film starts a new one."""
    while _workers.idle:
        _workers.idle.pop().end()


def _serve(line: socket.socket, shared: _Shared, parent: int) -> NoReturn:
    """Work until the parent ends; never returns, for what is on the stack is the parent's."""
    try:
        gc.freeze()  # what the parent holds is not ended here
        said = _by_itself(line.fileno(), shared.fileno())
        while os.getppid() == parent:
            if not _has_come(line, _IDLE_S):
                continue
            question = line.recv(_MESSAGE_BYTES)
            if not question:
                break
            # Should the parent end while this works, nobody else would end it.
            signal.setitimer(signal.ITIMER_REAL, 2 * _TIMEOUT_S)
            line.send(pickle.dumps(tuple(_answer(question, shared, said))))
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        os._exit(0)


def _by_itself(*kept: int) -> int:
    """Let go of all that the parent has open, and bound the memory.

    Args:
        kept: what stays open.

    Returns:
        Where to read what is said on file descriptor 2.
    """
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent's whole group
    for ending in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(ending, signal.SIG_DFL)
    # gRPC starts its threads again in a fork, and aborts where their descriptors are gone.
    if "grpc" not in sys.modules:
        least = 3
        for number in sorted(kept):
            os.closerange(least, number)
            least = number + 1
        os.closerange(least, 1 << 20)
    nothing = os.open(os.devnull, os.O_RDWR)
    reading, writing = os.pipe()
    # Who says more than a pipe holds is not kept waiting: it loses the rest.
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    for mine, standard in ((nothing, 0), (nothing, 1), (writing, 2)):
        os.dup2(mine, standard)
    keep_freed_memory(MemoryUse.FILM)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    bound = pages * resource.getpagesize() + _BUDGET_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (bound, most))
    return reading


def _answer(question: bytes, shared: _Shared, said: int) -> _Answer:
    """Do what is asked, and put the pixels where the stream was."""
    _heard(said)
    status, pixels = _OK, np.empty(0, np.uint8)
    try:
        work, arguments = pickle.loads(question[8:])  # noqa: S301  # our own process wrote it
        pixels = work(shared.taken(int.from_bytes(question[:8], "little")), *arguments)
        whole = np.frombuffer(shared.grown(pixels.nbytes), pixels.dtype, pixels.size)
        whole.reshape(pixels.shape)[...] = pixels
    except MemoryError:
        status = _NO_MEMORY
    except BaseException as error:  # panics in Rust are no Exceptions
        status = _OURS if is_ours(error) else _FAILED
    if status != _OK:
        pixels = np.empty(0, np.uint8)
    return _Answer(status, pixels.dtype.str, pixels.shape, _heard(said))


def _heard(said: int) -> str:
    with contextlib.suppress(BlockingIOError):
        return os.read(said, _PIPE_BYTES)[:_SAID_BYTES].decode(errors="replace")
    return ""
