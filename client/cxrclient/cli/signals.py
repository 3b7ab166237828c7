"""How a long run ends when it is asked to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cxrclient.cli.terminal import say_if_interrupts_are_ignored


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """A scheduler's SIGTERM ends the block as Ctrl-C does: what is done so far is kept.

    Where SIGINT is ignored it stays so, and one line on stderr says it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only
        return
    say_if_interrupts_are_ignored()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
