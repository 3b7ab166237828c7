"""How errors become one line on stderr and an exit code."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from cxrclient.cli.terminal import say, sentence_of
from cxrclient.errors import CxrClientError


class Exit(enum.IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SOME_FILMS = 3
    NO_SERVER = 5


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Print an error as `CODE: sentence` on stderr and leave with its exit code.

    A CxrClientError, and what the operating system refuses: a full disk, a closed stdout.
    """
    try:
        yield
    except CxrClientError as error:
        say(error, lines=True, fg="red")
        raise typer.Exit(error.exit_code) from error
    except OSError as error:
        if error.errno is None:  # raised by a program, not by the system
            raise
        say(f"{CxrClientError.code}: {sentence_of(error)}", fg="red")
        raise typer.Exit(Exit.FAILED) from error
    except KeyboardInterrupt as interrupt:
        say("Interrupted.")
        raise typer.Exit(130) from interrupt
