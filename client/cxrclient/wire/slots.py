"""How many films may be under way: a place for each, held until the server is done with it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class NoSlotError(Exception):
    """Nobody gave a slot back for as long as one was willing to wait."""


class Slot:
    """A place under way.

    Attributes:
        call: the request that holds the place even when nobody waits for its answer any more.
    """

    call: asyncio.Future[Any] | None = None


class Slots:
    """First come, first served; belongs to one event loop.

    Args:
        count: how many there are.
        patience_s: how long one waits while no slot at all is given back. As long as the line
            moves, everybody in it keeps waiting.
    """

    def __init__(self, count: int, patience_s: float) -> None:
        self._free = count
        self.patience_s = patience_s
        self._line: deque[asyncio.Future[None]] = deque()
        self._last_given = time.monotonic()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Hold a slot for the block, and after it until the slot's call has ended.

        Raises:
            NoSlotError: the line stands still.
        """
        await self._take()
        slot = Slot()
        try:
            yield slot
        finally:
            if slot.call is None or slot.call.done():
                self._give()
            else:
                slot.call.add_done_callback(lambda _call: self._give())

    async def _take(self) -> None:
        if self._free:
            self._free -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        self._line.append(mine)
        came = time.monotonic()
        try:
            while not mine.done():
                until = max(came, self._last_given) + self.patience_s
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise NoSlotError
                await asyncio.wait({mine}, timeout=left_s)
        except BaseException:
            if mine.done():
                self._give()  # it came together with the end of waiting
            else:
                self._line.remove(mine)
            raise

    def _give(self) -> None:
        self._last_given = time.monotonic()
        if self._line:
            self._line.popleft().set_result(None)
        else:
            self._free += 1
