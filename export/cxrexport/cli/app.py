"""`cxrexport`: gathers the commands. Imports nothing heavy, so `--help` is instant."""

from __future__ import annotations

import typer

from cxrexport.cli.data import data

app = typer.Typer(
    name="cxrexport",
    help="Train, export and check the networks behind the cxr ensemble. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _options() -> None:
    """Train, export and check the networks behind the cxr ensemble. Research use only."""


app.command("data")(data)


def main() -> None:
    """Entry point of the console script."""
    app()
