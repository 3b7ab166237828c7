"""How errors become one line on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cxrclient import cli
from cxrexport.errors import CxrExportError


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """As the client's, also for a CxrExportError; says at first where Ctrl-C does nothing."""
    cli.say_if_interrupts_are_ignored()
    with cli.errors_as_exit_codes(CxrExportError):
        yield
