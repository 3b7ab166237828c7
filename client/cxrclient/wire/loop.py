"""The event loop behind the synchronous client."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Closable(Protocol):
    """What holds a connection in the loop."""

    async def close(self, *, drain: bool = True) -> None:
        """Finish what is in flight, unless `drain` is False, and let go."""


class _Waited(Future[T]):
    """A future whose waiting is ended by an interrupt, and by nothing that follows from it."""

    def result(self, timeout: float | None = None) -> T:
        """As its parent.

        A trap: an interrupt that comes while `threading.Condition` takes its lock again leaves the
        lock free, and Python then fails over giving it back.
        """
        try:
            return super().result(timeout)
        except RuntimeError as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                raise error.__context__ from None
            raise


class _LoopThread:
    """The event loop of all clients of this process.

    One for all: gRPC's asyncio layer polls once a process, and logs errors of its own making when
    several loops share it.
    """

    def __init__(self) -> None:
        self.open: weakref.WeakSet[Closable] = weakref.WeakSet()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="cxrclient", daemon=True
        )
        self._thread.start()
        atexit.register(self._stop)

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Call `work` in the loop's thread, and run what it gives."""
        future: Future[T] = _Waited()

        async def run() -> T:
            return await work()

        def begin() -> None:
            if future.cancelled():
                return
            task = self._loop.create_task(run())
            task.add_done_callback(partial(_pass_on, future))
            future.add_done_callback(partial(self._cancel_with, task))

        self._loop.call_soon_threadsafe(begin)
        return future

    def _cancel_with(self, task: asyncio.Task[T], future: Future[T]) -> None:
        if future.cancelled():
            self._loop.call_soon_threadsafe(task.cancel)

    def _stop(self) -> None:
        for drain in (True, False):
            try:
                self._close_all(drain)
                break
            except KeyboardInterrupt:  # who asks a second time does not want to wait
                continue
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5.0)

    def _close_all(self, drain: bool) -> None:
        async def close_all() -> None:
            await asyncio.gather(*(each.close(drain=drain) for each in self.open))

        with contextlib.suppress(Exception):
            self.submit(close_all).result()


def _pass_on(future: Future[T], task: asyncio.Task[T]) -> None:
    """Give the future the task's outcome, unless nobody wants it any more."""
    # Looked at in any case, so that asyncio does not complain of an error that nobody saw.
    error = None if task.cancelled() else task.exception()
    if task.cancelled():
        future.cancel()
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())


_loop_thread: _LoopThread | None = None
_loop_lock = threading.Lock()


def submit(
    work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
) -> Future[T]:
    """Run `work(*args, **kwargs)` in the loop's thread; any other may wait for the future.

    The coroutine itself is made in that thread, where no signal interrupts: one made here is lost
    where a signal comes before the loop has it, and Python then says on stderr that it "was never
    awaited".
    """
    return _running().submit(partial(work, *args, **kwargs))


def close_at_exit(closable: Closable) -> None:
    """Close it with the process, if it is still there and nobody else did."""
    _running().open.add(closable)


def _running() -> _LoopThread:
    global _loop_thread  # made with the first client, not with the import
    with _loop_lock:
        if _loop_thread is None:
            _loop_thread = _LoopThread()
        return _loop_thread
