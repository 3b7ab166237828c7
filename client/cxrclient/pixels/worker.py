"""Decoders in a process of their own, which lives on: a film that crashes one costs that film only.

Triton 2.51 never starts a Python model's process again once it has died, and goes on saying that it
is ready (measured: half of all films fail where one of two has died). So no decoder of compressed
pixels runs in it. A film has a budget of time and memory here; a process that dies or is ended over
it is followed by a new one. It is a fresh interpreter: a fork would have the parent's descriptors,
its locks as they happen to be, and gRPC, which aborts in it once its descriptors are closed. Films
and pixels pass through memory that both share and keep, and that nobody can make smaller.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.errors import TooLarge
from cxrclient.faults import is_ours
from cxrclient.files import MemoryUse, keep_freed_memory

__all__ = ["in_worker", "room_for", "start_worker"]

_TIMEOUT_S = 30.0
# The largest films take OpenCV, libjpeg and OpenJPEG 0.5 to 0.8 GB.
_BUDGET_BYTES = 3 << 29
# What is shared: a stream, and behind it pixels. What nobody writes to takes no memory.
_STREAM_BYTES, _PIXEL_BYTES = 1 << 29, 1 << 29
_KEPT_BYTES = 64 << 20  # of it, between films
_MESSAGE_BYTES, _PIPE_BYTES, _SAID_BYTES = 1 << 17, 1 << 16, 1 << 14
_START_S = 60.0
_IDLE_S = 5.0  # how often one that waits looks whether its parent is still there
_OK, _FAILED, _NO_MEMORY, _OURS = range(4)
# Isolated from variables and folders that its parent may have changed since it was started.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; from cxrclient.pixels.worker import serve; "
    "serve(int(sys.argv[1]), int(sys.argv[2]))"
)
_room: memoryview | None = None  # in a worker: where its parent looks for pixels


def in_worker(
    work: Callable[..., npt.NDArray[Any]],
    stream: bytes,
    *arguments: Any,
    timeout_s: float = _TIMEOUT_S,
    refuse: Callable[[str], bool] = lambda said: False,
) -> npt.NDArray[Any]:
    """Run `work` in another process and give the array that it returns.

    Args:
        work: a function of a module that can be imported, which imports what it needs.
        stream: its first argument, as a memoryview; no larger than a film's file may be.
        arguments: the others, small; they are pickled.
        timeout_s: what takes longer is ended.
        refuse: whether what it said on file descriptor 2 makes its answer worthless. Decoders in C
            say there, and nowhere else, that part of the image is missing. Nobody else hears it.

    Returns:
        Memory that is shared with the process, which works for others once nobody has the array.

    Raises:
        ValueError: it raised, crashed, took too long, or was refused.
        TooLarge: it took more memory than any film.
        ImportError: it raised what `is_ours`, or does not start.
        MemoryError: somebody killed it.
    """
    worker = _workers.taken()
    if worker is None:
        return work(stream, *arguments)
    try:
        status, said, pixels = worker.asked(stream, pickle.dumps((work, arguments)), timeout_s)
    except BaseException:
        worker.end()
        raise
    weakref.finalize(pixels, _workers.give_back, worker).atexit = False
    if status == _OURS:
        raise ImportError("the decoder's process has not all that it imports")
    if status == _NO_MEMORY:
        raise TooLarge("decoding it takes more memory than any film does; export the film again")
    if status == _FAILED or refuse(said):
        raise ValueError("the decoder failed")
    return pixels


def room_for(shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """Give an array to decode into: in a worker where its parent reads it, so without a copy.

    Raises:
        MemoryError: no film has so many pixels.
    """
    try:
        return np.ndarray(shape, dtype, _room)
    except TypeError:
        raise MemoryError("more than the parent reads") from None


def _can_share() -> bool:
    """Whether memory can be shared: on Linux, where files, which it counts as, may be large."""
    if not hasattr(os, "memfd_create"):  # so no server: nobody hears what the decoder says
        return False
    import resource

    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


class _Worker:
    """The parent's end of a process that waits for work."""

    def __init__(self) -> None:
        import fcntl

        self._line, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = os.memfd_create("film", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with its_end, os.fdopen(memory, "rb"):
            os.ftruncate(memory, _STREAM_BYTES + _PIXEL_BYTES)
            # Who reads behind the end of a file that was made smaller is ended by the system.
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            self._shared = memoryview(mmap.mmap(memory, 0))
            self._pixels = self._shared[_STREAM_BYTES:].toreadonly()
            numbers = (its_end.fileno(), memory)
            self._process = subprocess.Popen(  # noqa: S603  # Python itself, no shell
                [sys.executable or "python3", "-I", "-c", _PROGRAM, *map(str, numbers), *sys.path],
                pass_fds=numbers,
                start_new_session=True,  # what a terminal sends to its group is for the parent
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # threads for which it has no use
            )
        self.is_large = False
        if not (_has_come(self._line, _START_S) and self._line.recv(1)):
            self.end()
            raise ImportError("the decoder's process does not start")

    def asked(
        self, stream: bytes, question: bytes, timeout_s: float
    ) -> tuple[int, str, npt.NDArray[Any]]:
        """Ask, and wait for status, words and pixels; who raises here is to be ended."""
        self._shared[: len(stream)] = stream
        answer = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ProcessLookupError):
            self._line.send(len(stream).to_bytes(8, "little") + question)
            os.kill(self._process.pid, signal.SIGCONT)  # somebody may have stopped it as it waited
            if not _has_come(self._line, timeout_s):
                raise ValueError("the decoder took too long")
            answer = self._line.recv(_MESSAGE_BYTES)
        if not answer:
            if self.end() == -signal.SIGKILL:
                raise MemoryError("the decoder was killed, as the system does for want of memory")
            raise ValueError("the decoder crashed")
        first, _, said = answer.decode(errors="replace").partition("\n")
        status, dtype, *shape = first.split()
        pixels: npt.NDArray[Any] = np.ndarray([*map(int, shape)], dtype, self._pixels)
        self.is_large |= len(stream) + pixels.nbytes > _KEPT_BYTES
        return int(status), said, pixels

    @property
    def waits(self) -> bool:
        """Whether it is still there: nobody has ended it meanwhile."""
        return not _has_come(self._line, 0)

    def end(self) -> int:
        """End the process, whatever it does, and give what it ended with."""
        self.forget()
        self._process.kill()
        return self._process.wait()

    def forget(self) -> None:
        """Let go of it, as a fork of the parent does; who has pixels keeps these."""
        self._line.close()


class _Workers:
    """Those that wait for work: one for each thread that decodes, at most."""

    def __init__(self) -> None:
        self.idle: list[_Worker] = []
        self._parent = os.getpid()

    def taken(self) -> _Worker | None:
        """Give one that waits, or a new one; None where no memory can be shared with it."""
        with contextlib.suppress(IndexError):
            while not (worker := self.idle.pop()).waits:
                worker.end()
            return worker
        return _Worker() if _can_share() else None

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


def start_worker() -> None:
    """Start one, for which the first film would wait.

    Raises:
        ImportError: it does not start.
    """
    worker = _workers.taken()
    if worker is not None:
        _workers.give_back(worker)


def serve(line_number: int, memory: int) -> None:
    """Be the process that works, until its parent ends.

    Args:
        line_number: descriptor of the line to the parent.
        memory: descriptor of what both share.
    """
    global _room
    parent = os.getppid()
    shared = memoryview(mmap.mmap(memory, 0))
    _room = shared[_STREAM_BYTES:]
    said = _what_is_said()
    _bound_memory()
    with socket.socket(fileno=line_number) as line:
        line.send(b"!")
        while os.getppid() == parent:
            if not _has_come(line, _IDLE_S):
                continue
            question = line.recv(_MESSAGE_BYTES)
            if not question:
                break
            stream = shared[: int.from_bytes(question[:8], "little")].toreadonly()
            with _ended_with(line):
                answer = _answer(question[8:], stream, said)
            line.send(answer)


@contextlib.contextmanager
def _ended_with(line: socket.socket) -> Iterator[None]:
    """Let the system end this process, whatever it does, when the line's other side closes.

    Should the parent end while this works, nobody else would end it. Meanwhile the parent says
    nothing on the line, so whatever happens there is its end.
    """
    import fcntl

    flags = fcntl.fcntl(line, fcntl.F_GETFL)
    fcntl.fcntl(line, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(line, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(line, fcntl.F_SETFL, flags | os.O_ASYNC)
    if _has_come(line, 0):  # it closed before
        raise SystemExit
    try:
        yield
    finally:
        fcntl.fcntl(line, fcntl.F_SETFL, flags)


def _what_is_said() -> int:
    """Give where to read what is said on file descriptor 2."""
    reading, writing = os.pipe()
    # Who says more than a pipe holds is not kept waiting: it loses the rest.
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    os.dup2(writing, 2)
    return reading


def _bound_memory() -> None:
    import resource

    keep_freed_memory(MemoryUse.FILM)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    bound = pages * resource.getpagesize() + _BUDGET_BYTES
    if most != resource.RLIM_INFINITY:
        bound = min(bound, most)
    resource.setrlimit(resource.RLIMIT_AS, (bound, most))


def _answer(question: bytes, stream: memoryview, said: int) -> bytes:
    """Do what is asked, put the pixels where the parent looks for them, and say what they are."""
    status, dtype, shape = _OK, "u1", (0,)
    try:
        work, arguments = pickle.loads(question)  # noqa: S301  # our own process wrote it
        pixels = work(stream, *arguments)
        seen = room_for(pixels.shape, pixels.dtype)
        if not np.may_share_memory(pixels, seen):
            seen[...] = pixels
        dtype, shape = pixels.dtype.str, pixels.shape
    except MemoryError:
        status = _NO_MEMORY
    except BaseException as error:  # panics in Rust are no Exceptions
        status = _OURS if is_ours(error) else _FAILED
    words = b""
    with contextlib.suppress(BlockingIOError):
        words = os.read(said, _PIPE_BYTES)[:_SAID_BYTES]
    return " ".join(map(str, (status, dtype, *shape))).encode() + b"\n" + words
