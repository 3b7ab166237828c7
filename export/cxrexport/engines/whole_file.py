"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["PART", "beside", "write_beside", "write_whole"]

PART = ".part"


def beside(path: Path) -> Path:
    """Where a file is written before it takes its place; Triton does not look at it."""
    return path.with_name(path.name + PART)


def write_beside(path: Path, content: bytes) -> Path:
    """Write a file's next content beside it, onto the disk itself, and return where.

    Raises:
        OSError: it cannot be written whole; nothing is left of it.
    """
    part = beside(path)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by new content at once.

    Raises:
        OSError: it cannot be written whole; the old file stays.
    """
    write_beside(path, content).replace(path)
