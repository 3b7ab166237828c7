"""Paths that a program wrote, a line each: `find … | cxrclient predict --files-from -`."""

from __future__ import annotations

import os
from typing import IO

from cxrclient.errors import UsageError

_MOST_BYTES = 1 << 30


def read_paths(file: IO[bytes], name: str) -> list[str]:
    r"""Read paths: a line each, or with a NUL behind each (`find -print0`), empty ones left out.

    Args:
        file: open for reading bytes.
        name: of the list, for messages.

    Raises:
        UsageError: it is no list of paths.
    """
    data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{name} has more than {_MOST_BYTES >> 20} MiB, and is no list of paths.")
    ends = b"\0" if b"\0" in data else b"\n"
    lines = data.split(ends)
    if ends == b"\n":
        lines = [line.removesuffix(b"\r") for line in lines]
    return [os.fsdecode(line) for line in lines if line]
