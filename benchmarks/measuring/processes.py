"""Processor time and memory of a process with all its children."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

SAMPLE_EVERY_S = 0.5
AT_MOST = 0.003
"""Share of one core's time that looking at the memory may take: the kernel walks every page."""


@dataclass
class Usage:
    """What `measured` fills in when its block ends."""

    cpu_s: float = 0.0
    peak_mb: float = 0.0


def children_of_this_process() -> set[int]:
    """Ids of the processes that this one started and that still run."""
    return {child.pid for child in psutil.Process().children()}


def tree(pid: int) -> list[psutil.Process]:
    """The process and all below it; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree, that of ended children included."""
    total = 0.0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # user, system, and of ended children
    return total


def memory_mb(pid: int) -> float:
    """Proportional set size of the tree: memory that several share is counted once (Linux)."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total / 1e6


@contextlib.contextmanager
def measured(pid: int) -> Iterator[Usage]:
    """Measure a tree for as long as the block runs."""
    usage, done = Usage(), threading.Event()

    def sample() -> None:
        while True:
            begin = time.perf_counter()
            usage.peak_mb = max(usage.peak_mb, memory_mb(pid))
            took_s = time.perf_counter() - begin
            if done.wait(max(SAMPLE_EVERY_S, took_s / AT_MOST)):
                return

    before = cpu_seconds(pid)
    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield usage
    finally:
        usage.cpu_s = cpu_seconds(pid) - before
        done.set()
        sampler.join()
        usage.peak_mb = max(usage.peak_mb, memory_mb(pid))
