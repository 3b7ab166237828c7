"""`cxrclient node`: the PACS node, how it stands, and whether what it needs is there."""

from __future__ import annotations

import typer

from cxrclient.cli.node.check import check
from cxrclient.cli.node.look import retry, status
from cxrclient.cli.node.run import run

node = typer.Typer(
    help="Take films from a PACS, put results back into their studies. Research use only.",
    no_args_is_help=True,
)

node.command()(run)
node.command()(check)
node.command()(status)
node.command()(retry)
