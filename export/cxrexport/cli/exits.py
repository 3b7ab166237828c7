"""How errors become one line on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from cxrexport.errors import CxrExportError


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Print a CxrExportError as `CODE: sentence` on stderr and leave with its exit code."""
    try:
        yield
    except CxrExportError as error:
        typer.secho(str(error), err=True, fg="red")
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as interrupt:
        typer.secho("Interrupted.", err=True)
        raise typer.Exit(130) from interrupt
