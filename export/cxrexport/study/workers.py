"""Runs tasks that need each other in several processes; one may fail without losing the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

__all__ = ["TaskSpec", "run_tasks", "threads_each"]

_TRIES = 2
"""A process that dies takes those beside it along; each of them gets another try."""


@dataclass(frozen=True)
class TaskSpec:
    """One piece of work.

    Attributes:
        name: unique; shown to the user.
        function: importable, its arguments picklable.
        arguments: for the function.
        needs: names of tasks that must have succeeded before.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    needs: tuple[str, ...] = ()


def threads_each(jobs: int) -> int:
    """Threads of each process, so that all together use every core once."""
    return max(1, len(os.sched_getaffinity(0)) // jobs)


def run_tasks(
    tasks: Sequence[TaskSpec],
    jobs: int,
    on_end: Callable[[str, str | None], None] = lambda name, failure: None,
) -> dict[str, str]:
    """Run all tasks, each as soon as a process is free and what it needs is done.

    Args:
        tasks: earlier ones are preferred.
        jobs: processes.
        on_end: called with a task's name and what failed, or None.

    Returns:
        Task → what failed, for those that did; a task whose need failed says so.
    """
    waiting = {task.name: task for task in tasks}
    tries = dict.fromkeys(waiting, 0)
    running: dict[Future[Any], TaskSpec] = {}
    done: set[str] = set()
    failed: dict[str, str] = {}

    def fail(name: str, what: str) -> None:
        failed[name] = what
        on_end(name, what)

    pool = _pool(jobs)
    try:
        while waiting or running:
            for task in list(waiting.values()):
                if lost := next((need for need in task.needs if need in failed), None):
                    del waiting[task.name]
                    fail(task.name, f"needs {lost}, which failed")
                elif done.issuperset(task.needs) and len(running) < jobs:
                    del waiting[task.name]
                    tries[task.name] += 1
                    running[pool.submit(task.function, *task.arguments)] = task
            if not running:
                continue
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in ended:
                task = running.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    broken = True
                    if tries[task.name] < _TRIES:
                        waiting = {task.name: task, **waiting}
                    else:
                        fail(task.name, "its process died; it may have run out of memory")
                elif error is not None:
                    fail(task.name, str(error) or type(error).__name__)
                else:
                    done.add(task.name)
                    on_end(task.name, None)
            if broken:
                pool.shutdown(wait=False)
                pool = _pool(jobs)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _pool(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        jobs,
        mp_context=get_context("spawn"),
        initializer=_prepare,
        initargs=(threads_each(jobs), jobs == 1),
    )


def _prepare(threads: int, alone: bool) -> None:
    import cv2
    import torch
    from monai.data import set_track_meta

    from cxrexport.training.memory import keep_freed_memory

    keep_freed_memory()
    set_track_meta(False)
    torch.set_num_threads(threads)
    if not alone:
        cv2.setNumThreads(1)
