"""The event loop behind the synchronous client."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["submit"]

T = TypeVar("T")


class _LoopThread:
    """The event loop of all clients of this process.

    One for all: gRPC's asyncio layer polls once a process, and logs errors of its own making when
    several loops share it.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="cxrclient", daemon=True)
        self._thread.start()
        atexit.register(self._stop)

    def _stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5.0)


_loop_thread: _LoopThread | None = None
_loop_lock = threading.Lock()


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine in the loop's thread; the future may be waited for in any other."""
    global _loop_thread  # made with the first client, not with the import
    with _loop_lock:
        if _loop_thread is None:
            _loop_thread = _LoopThread()
    return asyncio.run_coroutine_threadsafe(work, _loop_thread.loop)
