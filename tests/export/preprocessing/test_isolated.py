"""A decoder's crash ends its own process, and no other."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from pathlib import Path

import pytest

from cxrexport.preprocessing.isolated import in_own_process


def process_id() -> bytes:
    return os.getpid().to_bytes(8, "big")


@pytest.mark.parametrize("size", [1, 1 << 16, 9_000_001])
def test_an_answer_comes_whole(size: int) -> None:
    data = os.urandom(size)
    assert bytes(in_own_process(lambda: data, size)) == data


@pytest.mark.parametrize("size", [2, 4])
def test_an_answer_of_another_size_is_an_error(size: int) -> None:
    with pytest.raises(ValueError, match="failed"):
        in_own_process(lambda: b"...", size)


def test_work_is_done_elsewhere() -> None:
    assert bytes(in_own_process(process_id, 8)) != process_id()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_an_error(number: signal.Signals) -> None:
    def crash() -> bytes:
        faulthandler.disable()  # pytest's, which would print where this was
        os.kill(os.getpid(), number)
        return b"never"

    with pytest.raises(ValueError, match="crashed"):
        in_own_process(crash, 5)


def test_an_error_is_an_error() -> None:
    def fail() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match="failed"):
        in_own_process(fail, 5)


def test_what_takes_too_long_is_ended() -> None:
    def hang() -> bytes:
        time.sleep(600)
        return b""

    began_s = time.monotonic()
    with pytest.raises(ValueError, match="too long"):
        in_own_process(hang, 5, timeout_s=0.2)
    assert time.monotonic() - began_s < 300  # who waited for it would have waited for 600


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts what Linux shows")
def test_nothing_is_left_behind() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    child = int.from_bytes(bytes(in_own_process(process_id, 8)), "big")
    assert open_files() == before
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
