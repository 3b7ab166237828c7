"""What tests let a decoder's process do; it imports this."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import numpy as np

from cxrclient.pixels.worker import room_for


def process_id(_: bytes) -> np.ndarray:
    return np.array([os.getpid()])


def same(stream: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(stream, dtype).reshape(shape)


def grown(stream: bytes, side: int) -> np.ndarray:
    return np.full((side, side), stream[0], np.uint8)


def crash(_: bytes, number: int) -> np.ndarray:
    os.kill(os.getpid(), number)
    return np.zeros(1)


class PanicError(BaseException):
    """As decoders in Rust raise: no Exception."""


def fail(_: bytes, error: type[BaseException]) -> np.ndarray:
    raise error


def greedy(_: bytes) -> np.ndarray:
    return np.ones(1 << 32, np.uint8)


def greedy_for_room(_: bytes) -> np.ndarray:
    return room_for((1 << 16, 1 << 16))


def complain(_: bytes, said: str) -> np.ndarray:
    if said:
        os.write(2, said.encode())
    return np.array([7])


def chatter(_: bytes) -> np.ndarray:
    for _ in range(20_000):
        with contextlib.suppress(BlockingIOError):
            os.write(2, b"missing, ")
    return np.array([7])


def hang(_: bytes) -> np.ndarray:
    signal.pause()
    return np.zeros(1)


def begin_and_hang(film: bytes, begun: str) -> np.ndarray:
    Path(begun).touch()
    return hang(film)


def open_files(_: bytes) -> np.ndarray:
    return np.array([len(list(Path("/proc/self/fd").iterdir()))])


def made_smaller(_: bytes) -> np.ndarray:
    """How often what is shared could be made smaller, and how often not."""
    done, refused = 0, 0
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink() and "memfd" in str(link.readlink()):
            try:
                os.ftruncate(int(link.name), 0)
                done += 1
            except PermissionError:
                refused += 1
    return np.array([done, refused])
