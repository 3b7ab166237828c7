"""How a long run ends when it is asked to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cxrclient.terminal import say

__all__ = ["INTERRUPT_IGNORED", "is_ignored", "sigterm_as_interrupt"]

INTERRUPT_IGNORED = "SIGINT is ignored here, as in a background job: SIGTERM ends this command."


def is_ignored(number: signal.Signals) -> bool:
    """Say whether who started this program wants the signal ignored: nohup does, and `&`."""
    return signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """A scheduler's SIGTERM ends the block as Ctrl-C does: what is done so far is kept.

    Where SIGINT is ignored it stays so, and one line on stderr says it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only
        return
    if is_ignored(signal.SIGINT):
        say(INTERRUPT_IGNORED)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
