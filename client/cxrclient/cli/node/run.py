"""`cxrclient node run`: the node, in the foreground."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cxrclient.cli.exits import errors_as_exit_codes
from cxrclient.cli.node.options import node_options, with_asked
from cxrclient.cli.options.server import Secured, with_secured
from cxrclient.cli.terminal import say

_LEVELS = {logging.ERROR: "error", logging.INFO: "info", logging.DEBUG: "debug"}


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """While nothing runs yet, SIGTERM ends well what has not begun; then the node hears it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only
        return
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@with_secured
@with_asked
def run(*, asked: dict[str, Any], secured: Secured) -> None:
    """Take films over DICOM and STOW-RS, and put results into their studies, until SIGTERM.

    A film that was acknowledged is not lost, whatever is killed, and its results are in each peer
    once. Triton or a peer may be away: films are taken all the same, and wait.

    Listens on this machine only, unless --host says otherwise. Results are for research use only,
    and each object says so. The log is on stderr: warnings, with -v each film, by its UID.

    SIGTERM or Ctrl-C: no new film is taken, films in hand are finished, within 30 s.
    """
    with errors_as_exit_codes(), _ended_by_sigterm():
        options = node_options(asked, secured)
        from cxrclient.files import MemoryUse, keep_freed_memory
        from cxrclient.node import run_node, set_up as set_up_log

        # One heap for all senders: eight of them with films of 7 MB are 177 MB, not 268.
        keep_freed_memory(MemoryUse.FILMS)
        say("Research use only. Not a medical device, not for clinical use.", bold=True)

        def began() -> None:
            say(
                f"Films go to {options.aet} on {options.host}:{options.port}, and over HTTP to "
                f"port {options.http_port}. SIGTERM or Ctrl-C ends it."
            )

        # Before any library speaks: what they say may hold patients' names.
        set_up_log(_LEVELS.get(logging.getLogger("cxrclient").level, "warning"))
        run_node(options, began)
