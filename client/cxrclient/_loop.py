"""The event loop behind the synchronous client."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

__all__ = ["Closable", "close_at_exit", "submit"]

T = TypeVar("T")


class Closable(Protocol):
    """What holds a connection in the loop."""

    async def close(self, *, drain: bool = True) -> None:
        """Finish what is in flight, unless `drain` is False, and let go."""


class _LoopThread:
    """The event loop of all clients of this process.

    One for all: gRPC's asyncio layer polls once a process, and logs errors of its own making when
    several loops share it.
    """

    def __init__(self) -> None:
        self.open: weakref.WeakSet[Closable] = weakref.WeakSet()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="cxrclient", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    def _stop(self) -> None:
        for drain in (True, False):
            try:
                self._close_all(drain)
                break
            except KeyboardInterrupt:  # who asks a second time does not want to wait
                continue
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5.0)

    def _close_all(self, drain: bool) -> None:
        async def close_all() -> None:
            await asyncio.gather(*(each.close(drain=drain) for each in self.open))

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(close_all(), self.loop).result()


_loop_thread: _LoopThread | None = None
_loop_lock = threading.Lock()


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine in the loop's thread; the future may be waited for in any other."""
    return asyncio.run_coroutine_threadsafe(work, _running().loop)


def close_at_exit(closable: Closable) -> None:
    """Close it with the process, if it is still there and nobody else did."""
    _running().open.add(closable)


def _running() -> _LoopThread:
    global _loop_thread  # made with the first client, not with the import
    with _loop_lock:
        if _loop_thread is None:
            _loop_thread = _LoopThread()
        return _loop_thread
