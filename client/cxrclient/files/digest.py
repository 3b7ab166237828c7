"""The sha256 of a file, of bytes, or of bytes that come in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["sha256_of"]


def sha256_of(what: Path | bytes | Iterable[bytes]) -> str:
    """Return a sha256 in hex.

    Args:
        what: a file's path, bytes, or parts whose sha256 is that of all of them in a row.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(what, Path):
        with what.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for part in (what,) if isinstance(what, bytes) else what:
        digest.update(part)
    return digest.hexdigest()
