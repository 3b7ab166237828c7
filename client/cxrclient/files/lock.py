"""One process at a time in a file or folder: a lock that ends with its process, however it ends."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cxrclient.files.whole import private

_log = logging.getLogger(__name__)


def hold(descriptor: int, busy: Exception | None) -> None:
    """Hold what a descriptor is of, until the descriptor is closed.

    A file system without locks is no reason to do nothing: that is logged. Windows has none.

    Args:
        descriptor: of an open file or folder.
        busy: what to raise where another process holds it; None waits for it.
    """
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
    except BlockingIOError as error:
        raise busy or error from error
    except OSError as error:
        _log.warning("No locks here (%s): start only one at a time.", error.strerror)


@contextmanager
def only_one(folder: Path, busy: Exception | None = None) -> Iterator[None]:
    """Hold a folder, which must exist, against a second holder; see `hold`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        hold(descriptor, busy)
        yield
    finally:
        _let_go(descriptor)


def _let_go(descriptor: int) -> None:
    """Free what is held, also where a fork has it open still: closing frees it in the last one."""
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):  # no locks here
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def open_alone(path: Path, busy: Exception) -> IO[bytes]:
    """A file for reading and appending, held; made for its owner alone where there is none.

    A pipe or a device is opened for writing, and nobody holds it.

    Raises:
        Exception: `busy`, where another process holds it.
        OSError: it cannot be opened.
    """
    if path.exists() and not path.is_file():
        return path.open("wb")
    while True:
        file = open(path, "a+b", opener=private)  # noqa: SIM115
        try:
            hold(file.fileno(), busy)
            now, held = os.stat(path), os.fstat(file.fileno())  # noqa: PTH116
        except FileNotFoundError:
            now, held = None, None
        except BaseException:
            file.close()
            raise
        if now and held and (now.st_dev, now.st_ino) == (held.st_dev, held.st_ino):
            return file
        file.close()  # its last holder put another in its place meanwhile
