"""Files opened with care: regular ones only, and no more of them than was asked for.

A pipe that nobody writes to makes who opens it wait for ever, a device may have no end, and opening
some does something. So a path is looked at, opened without waiting, and looked at again, for it may
have become another file in between.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections import deque
from pathlib import Path
from typing import Self

_HELD = 64
_PART_BYTES = 4 << 20


class NoRegularFile(OSError):
    """A folder, a pipe, a socket, a device."""


class FileTooLarge(OSError):
    """The file has more than the most that was asked for."""


class OpenedPath(str):
    """The path of a file that is open already; `open_regular` gives that file, once."""

    __slots__ = ("_files",)
    _files: list[io.BufferedReader]

    def __new__(cls, path: str, file: io.BufferedReader) -> Self:
        """Take over the file."""
        self = super().__new__(cls, path)
        self._files = [file]
        return self

    def take(self) -> io.BufferedReader | None:
        """The file, at its beginning; None where it was taken before, by whatever thread."""
        try:
            file = self._files.pop()
        except IndexError:
            return None
        file.seek(0)
        return file

    def about(self) -> os.stat_result | None:
        """What the system says of the file that is open; None where it was taken, or is none."""
        with contextlib.suppress(io.UnsupportedOperation):
            return os.fstat(self._files[0].fileno()) if self._files else None
        return None

    def close(self) -> None:
        """Close the file, if nobody took it: whoever reads it opens it anew."""
        while self._files:
            self._files.pop().close()

    def __del__(self) -> None:
        self.close()


class HeldOpen:
    """The files that were opened last, held so that who reads them need not open them again."""

    def __init__(self) -> None:
        self._held: deque[OpenedPath] = deque()

    def hold(self, path: str, file: io.BufferedReader) -> OpenedPath:
        """Take over an open file; beyond 64 the oldest is closed."""
        opened = OpenedPath(path, file)
        self._held.append(opened)
        if len(self._held) > _HELD:
            self._held.popleft().close()
        return opened


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open a regular file for reading; a link to one is one.

    Raises:
        NoRegularFile: it is something else.
        OSError: it cannot be opened.
    """
    if isinstance(path, OpenedPath) and (opened := path.take()):
        return opened
    _require_regular(Path(path).stat())
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - Path.open takes no opener
    except BlockingIOError:
        # Samba or NFS has lent the file to a client, and has it back soon, for those who wait.
        file = Path(path).open("rb")  # noqa: SIM115 - as above
    try:
        _require_regular(os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: str | Path, most_bytes: int) -> bytes:
    """Read a regular file whole.

    Raises:
        NoRegularFile: it is something else.
        FileTooLarge: it has more than `most_bytes`.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        return read_opened(file, most_bytes)


def read_opened(file: io.BufferedReader, most_bytes: int) -> bytes:
    """Read an open file whole, from its beginning; raises as `read_regular`."""
    file.seek(0)
    try:
        size = os.fstat(file.fileno()).st_size
    except io.UnsupportedOperation:  # in a zip, or from stdin
        size = 0
    data = file.read(min(size, most_bytes) + 1)
    if len(data) > size:  # somebody writes to it, or it has no size, as in /proc
        more = [data]
        left = most_bytes + 1 - len(data)
        while left > 0 and (part := file.read(min(left, _PART_BYTES))):
            more.append(part)
            left -= len(part)
        data = b"".join(more)
    if len(data) > most_bytes:
        raise FileTooLarge(
            errno.EFBIG, f"It has more than {most_bytes >> 20} MiB", getattr(file, "name", None)
        )
    return data


def _without_waiting(path: str, flags: int) -> int:
    # Windows has neither flag, and no pipes among its files.
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    return os.open(path, flags)


def _require_regular(about: os.stat_result) -> None:
    if stat.S_ISDIR(about.st_mode):
        raise NoRegularFile(errno.EISDIR, "It is a folder")
    if not stat.S_ISREG(about.st_mode):
        raise NoRegularFile(errno.EINVAL, "It is a pipe, a socket or a device, and no file")
