"""`cxrclient archive`: what is in an archive, whether it is whole, and the ways in and out."""

from __future__ import annotations

import typer

from cxrclient.cli.archive.backup import export_, import_
from cxrclient.cli.archive.look import list_, show, stats
from cxrclient.cli.archive.migrate import migrate
from cxrclient.cli.archive.remove import remove
from cxrclient.cli.archive.verify import verify

archive = typer.Typer(
    help="Inspect, check, export or import an archive, remove films, or move it to a new model.",
    no_args_is_help=True,
)

archive.command()(stats)
archive.command("list")(list_)
archive.command()(show)
archive.command()(verify)
archive.command()(remove)
archive.command("export")(export_)
archive.command("import")(import_)
archive.command()(migrate)
