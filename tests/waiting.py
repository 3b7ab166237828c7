"""Waiting in tests: for what happens, never for a time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")

HANG_S = 600
"""Only catches a hang; on a busy machine everything takes ten times as long."""


def appears(path: Path, process: subprocess.Popen[Any]) -> Path:
    """Wait until a running process has made a file with something in it, or a folder."""

    def there() -> bool:
        found = path.exists() and (path.is_dir() or path.stat().st_size > 0)
        assert found or process.poll() is None, f"the process ended without {path.name}"
        return found

    eventually(there, f"no {path.name}")
    return path


def programs_with(word: object) -> list[int]:
    """The processes that have `word` in their command, by process id."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if os.fsencode(str(word)) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def eventually(condition: Callable[[], Found], what: object = "it never happened") -> Found:
    """Wait until `condition` says something true, and give that.

    Args:
        condition: asked often; cheap.
        what: is said where it never becomes true.
    """
    deadline = time.monotonic() + HANG_S
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found
