"""An interrupt may come anywhere: nothing is left behind that Python complains of."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import warnings

import pytest

from cxrclient import CxrClient, FilmError
from cxrclient.wire import submit

# Where the caller's thread makes work for the loop's, in our code and in asyncio's.
PLACES = {"predict", "predict_many", "submit", "run_coroutine_threadsafe"}


class _Interrupt:
    """Raises KeyboardInterrupt before the n-th instruction that this thread runs in PLACES."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.came = False

    def __call__(self, frame, event, _argument):
        if event == "call":
            if frame.f_code.co_name not in PLACES:
                return None
            frame.f_trace_opcodes = True
            return self
        if event == "opcode":
            self._left -= 1
            if self._left == 0:
                self.came = True
                raise KeyboardInterrupt
        return self


@pytest.fixture
def little_to_collect():
    """What other tests hold is not looked through at each collection."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("little_to_collect")
@pytest.mark.parametrize("way", ["predict", "predict_many"])
def test_no_coroutine_is_lost_wherever_an_interrupt_comes(way, triton_server):
    with (
        CxrClient(triton_server.grpc_address, jobs=1) as client,
        warnings.catch_warnings(record=True) as complaints,
    ):
        warnings.simplefilter("always")
        for at in itertools.count(1):
            interrupt = _Interrupt(at)
            sys.settrace(interrupt)
            try:
                if way == "predict":
                    client.predict(b"")
                else:
                    list(client.predict_many([b""] * 4))
            except (KeyboardInterrupt, FilmError):  # `predict` raises the latter over b""
                pass
            finally:
                sys.settrace(None)
            gc.collect()
            if not interrupt.came:
                break
    assert at > 20
    assert [str(one.message) for one in complaints] == []


class _LockLeftFree:
    """As `threading.Condition` is, where an interrupt comes as it takes its lock again."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        raise RuntimeError("cannot release un-acquired lock")

    def wait(self, _timeout=None):
        raise KeyboardInterrupt


def test_an_interrupt_while_waiting_is_an_interrupt_wherever_it_comes():
    future = submit(asyncio.sleep, 0)
    assert future.result() is None
    waiting = type(future)()
    waiting._condition = _LockLeftFree()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        waiting.result()
