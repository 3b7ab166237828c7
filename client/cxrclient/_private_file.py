"""Files that hold what films and archives tell of patients: for their owner alone when made.

A file that is there already keeps its mode; who changed it had a reason.
"""

from __future__ import annotations

import os

__all__ = ["private"]


def private(path: str, flags: int) -> int:
    """As `opener` of `open`: a new file has mode 0600, whatever the umask."""
    return os.open(path, flags, 0o600)
