"""`cxrexport manifest`: check a table of films, split its patients, deal them into folds."""

from __future__ import annotations

import typer

from cxrexport.cli.manifest.check import check
from cxrexport.cli.manifest.splits import folds, print_counts as print_counts, split

manifest = typer.Typer(no_args_is_help=True)


@manifest.callback()
def _options() -> None:
    """Check a manifest before training; split its patients, or deal them into folds."""


manifest.command("check")(check)
manifest.command("split")(split)
manifest.command("folds")(folds)
