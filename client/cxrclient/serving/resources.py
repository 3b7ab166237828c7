"""Has this machine room for a server, and for what is written: memory, shared memory, disk?"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cxrclient.serving.doctor import Check
from cxrclient.serving.tritonserver import ENOUGH_SHARED_MEMORY, SHARED_MEMORY

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
_GIB = 2**30
_SERVER_BYTES, _EACH_GRAPH_BYTE = _GIB, 4
"""A server's peak: 0.9 GB with 22 MB of graphs, 2.9 GB with 470 MB. Source: docs/performance.md."""
_ENOUGH_DISK = _GIB


def examine_room(repository: Path, *, served: bool) -> Iterator[Check]:
    """Judge memory, shared memory and disk.

    Args:
        repository: that a server here has, or will have.
        served: whether it runs already, so that what it takes is taken.
    """
    yield from _memory(repository, served=served)
    yield from _shared_memory()
    folders: dict[int, Path] = {}
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        folders.setdefault(folder.stat().st_dev, folder)
    for folder in folders.values():
        yield disk_of(folder, _ENOUGH_DISK)


def disk_of(folder: Path, needed: int, what: str = "results and logs") -> Check:
    """Judge the disk of a folder.

    Args:
        folder: there.
        needed: bytes that should be free.
        what: is written there, in words.
    """
    free = shutil.disk_usage(folder).free
    finding = f"{folder} has {free / _GIB:.1f} GiB free"
    if free >= needed:
        return Check("disk", "ok", finding)
    lack = f"{finding}; {what} need {needed / _GIB:.1f}: make room there"
    return Check("disk", "wrong", lack)


def _memory(repository: Path, *, served: bool) -> Iterator[Check]:
    free = _free_memory()
    if free is None:
        yield Check("memory", "note", "this system does not tell how much is free")
        return
    graphs = sum(path.stat().st_size for path in repository.glob("*/1/model.onnx"))
    needed = _SERVER_BYTES + _EACH_GRAPH_BYTE * graphs
    finding = f"{free / _GIB:.1f} GiB free; a server of this repository takes up to"
    finding += f" {needed / _GIB:.1f} GiB"
    if served:
        yield Check("memory", "ok", f"{finding}, and runs already")
    elif free >= needed:
        yield Check("memory", "ok", finding)
    else:
        yield Check("memory", "wrong", f"{finding}: end other programs, or serve elsewhere")


def _free_memory() -> int | None:
    """Bytes that programs may still take, of the machine or of the container; None: unknown."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    free = int(found[1]) * 1024 if found else None
    try:
        most = (CGROUP / "memory.max").read_text().strip()
        taken = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    if not most.isdigit():
        return free
    left = max(0, int(most) - taken)
    return left if free is None else min(free, left)


def _shared_memory() -> Iterator[Check]:
    """What tensors pass through between Triton and its Python steps."""
    if not SHARED_MEMORY.is_dir():
        return
    total = shutil.disk_usage(SHARED_MEMORY).total
    finding = f"{SHARED_MEMORY} has {total / _GIB:.1f} GiB"
    if total >= ENOUGH_SHARED_MEMORY:
        yield Check("shared memory", "ok", finding)
    else:
        lack = f"{finding}; large batches need 1: start the container with --shm-size=1g"
        yield Check("shared memory", "wrong", lack)
