"""Runs tasks that need each other in several processes; one may fail without losing the others."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any


@dataclass(frozen=True)
class TaskSpec:
    """One piece of work.

    Attributes:
        name: unique; shown to the user.
        function: importable, its arguments picklable.
        arguments: for the function.
        needs: names of tasks that must have succeeded before.
        after: names of tasks that must have ended before, however they did.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


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

    Raises:
        ValueError: a task waits for one that is not there.
    """
    names = {task.name for task in tasks}
    if unknown := {name for task in tasks for name in (*task.needs, *task.after)} - names:
        raise ValueError(f"no task is named {', '.join(sorted(unknown))}")
    return _Schedule(tasks, jobs, on_end).run()


class _Schedule:
    """The tasks by their state: waiting, running, done, failed."""

    def __init__(
        self, tasks: Sequence[TaskSpec], jobs: int, on_end: Callable[[str, str | None], None]
    ) -> None:
        self.waiting = {task.name: task for task in tasks}
        self.running: dict[Future[Any], TaskSpec] = {}
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}
        # A process that dies takes all others along; who was in flight then is tried again alone,
        # so that the next death is its own.
        self.suspects: set[str] = set()
        self.jobs, self.on_end = jobs, on_end
        self.pool = _pool(jobs)

    def run(self) -> dict[str, str]:
        try:
            while self.waiting or self.running:
                self._submit()
                if self.running:
                    self._collect()
        finally:
            self.pool.shutdown(wait=False, cancel_futures=True)
        return self.failed

    def _submit(self) -> None:
        alone = self.suspects.intersection(self.waiting)
        for task in list(self.waiting.values()):
            if lost := next((need for need in task.needs if need in self.failed), None):
                del self.waiting[task.name]
                self._fail(task, f"needs {lost}, which failed")
            elif alone and (self.running or task.name not in alone):
                continue
            elif self._may_begin(task) and len(self.running) < self.jobs:
                del self.waiting[task.name]
                self.running[self.pool.submit(task.function, *task.arguments)] = task

    def _may_begin(self, task: TaskSpec) -> bool:
        ended = self.done.union(self.failed)
        return self.done.issuperset(task.needs) and ended.issuperset(task.after)

    def _collect(self) -> None:
        ended, _ = wait(self.running, return_when=FIRST_COMPLETED)
        broken = any(isinstance(future.exception(), BrokenProcessPool) for future in ended)
        for future in wait(self.running).done if broken else ended:
            task, error = self.running.pop(future), future.exception()
            if isinstance(error, BrokenProcessPool) and task.name not in self.suspects:
                self.suspects.add(task.name)
                self.waiting = {task.name: task, **self.waiting}
            elif isinstance(error, BrokenProcessPool):
                self._fail(task, "its process died; it may have run out of memory")
            elif error is not None:
                self._fail(task, str(error) or type(error).__name__)
            else:
                self.done.add(task.name)
                self.on_end(task.name, None)
        if broken:
            self.pool.shutdown(wait=False)
            self.pool = _pool(self.jobs)

    def _fail(self, task: TaskSpec, what: str) -> None:
        self.failed[task.name] = what
        self.on_end(task.name, what)


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

    from cxrclient.files import MemoryUse, keep_freed_memory

    _end_with_parent()
    keep_freed_memory(MemoryUse.TENSORS)
    set_track_meta(False)
    torch.set_num_threads(threads)
    if not alone:
        cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """Die when the study does, killed or not: started again, it must be the only writer."""
    parent = parent_process()
    assert parent is not None  # noqa: S101  # this is a worker

    def wait_for_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_it, daemon=True).start()
