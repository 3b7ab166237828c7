"""A decoder's crash ends its own process, and no other."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time
from pathlib import Path

import pytest

from cxrclient.pixels.isolated import in_own_process


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


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_is_an_error(number: signal.Signals) -> None:
    def crash() -> bytes:
        faulthandler.disable()  # pytest's, which would print where this was
        os.kill(os.getpid(), number)
        return b"never"

    with pytest.raises(ValueError, match="crashed"):
        in_own_process(crash, 5)


def test_a_process_that_somebody_kills_says_nothing_of_the_stream() -> None:
    def killed() -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b"never"

    with pytest.raises(MemoryError, match="killed"):
        in_own_process(killed, 5)


class PanicError(BaseException):
    """As decoders in Rust raise: no Exception."""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, PanicError])
def test_an_error_is_an_error(error: type[BaseException]) -> None:
    def fail() -> bytes:
        raise error

    with pytest.raises(ValueError, match="failed"):
        in_own_process(fail, 5)


def test_an_answer_is_refused_for_what_was_said_beside_it() -> None:
    def complain() -> bytes:
        os.write(2, b"part of it is missing\n")
        return b"."

    assert bytes(in_own_process(complain, 1)) == b"."
    assert bytes(in_own_process(complain, 1, refuse=lambda said: "whole" in said)) == b"."
    with pytest.raises(ValueError, match="failed"):
        in_own_process(complain, 1, refuse=lambda said: "missing" in said)


def test_silence_refuses_nothing() -> None:
    assert bytes(in_own_process(lambda: b".", 1, refuse=bool)) == b"."


def test_who_says_more_than_anybody_reads_is_heard_and_not_kept_waiting() -> None:
    def chatter() -> bytes:
        for _ in range(20_000):
            with contextlib.suppress(BlockingIOError):
                os.write(2, b"missing, ")
        return b"."

    with pytest.raises(ValueError, match="failed"):
        in_own_process(chatter, 1, timeout_s=60, refuse=lambda said: "missing" in said)


def test_what_is_said_there_is_not_said_here(capfd: pytest.CaptureFixture[str]) -> None:
    in_own_process(lambda: b"." if os.write(2, b"aloud") else b"", 1)
    assert capfd.readouterr().err == ""


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
