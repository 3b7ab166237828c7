"""How errors become one line on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from cxrclient.cli import say, say_if_interrupts_are_ignored, sentence_of
from cxrclient.errors import CxrClientError
from cxrexport.errors import CxrExportError


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Print an error as `CODE: sentence` on stderr and leave with its exit code.

    A CxrExportError, a CxrClientError such as a film's, and what the operating system refuses: a
    full disk, a closed stdout.
    """
    say_if_interrupts_are_ignored()
    try:
        yield
    except (CxrExportError, CxrClientError) as error:
        say(error, lines=True, fg="red")
        raise typer.Exit(error.exit_code) from error
    except OSError as error:
        if error.errno is None:  # raised by a program, not by the system
            raise
        say(f"{CxrExportError.code}: {sentence_of(error)}", fg="red")
        raise typer.Exit(CxrExportError.exit_code) from error
    except KeyboardInterrupt as interrupt:
        say("Interrupted.")
        raise typer.Exit(130) from interrupt
