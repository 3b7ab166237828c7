"""One process at a time in a folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["only_one"]

_logger = logging.getLogger(__name__)


@contextmanager
def only_one(folder: Path, busy: Exception) -> Iterator[None]:
    """Hold a folder, which must exist, against a second holder.

    Raises:
        Exception: `busy`, where another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        except OSError as error:  # a file system without locks
            _logger.warning("%s cannot be locked (%s): start only one there", folder, error)
        yield
    finally:
        os.close(descriptor)
