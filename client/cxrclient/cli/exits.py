"""How errors become one line on stderr and an exit code."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager

import typer

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
    """Print a CxrClientError as `CODE: sentence` on stderr and leave with its exit code."""
    try:
        yield
    except CxrClientError as error:
        typer.secho(str(error), err=True, fg="red")
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as interrupt:
        typer.secho("Interrupted.", err=True)
        raise typer.Exit(130) from interrupt
