"""`cxrclient`: gathers the commands. Imports nothing heavy, so `--help` is instant."""

from __future__ import annotations

import typer

from cxrclient.cli.archive import archive
from cxrclient.cli.index import index
from cxrclient.cli.node import node
from cxrclient.cli.operations.codes import codes
from cxrclient.cli.operations.doctor import doctor
from cxrclient.cli.options.every import HELP_NAMES, Version, for_every_command
from cxrclient.cli.perf_data import perf_data
from cxrclient.cli.predict import predict
from cxrclient.cli.pull import pull
from cxrclient.cli.report import report
from cxrclient.cli.serve import serve
from cxrclient.cli.similar import similar
from cxrclient.cli.terminal import terminal_program
from cxrclient.errors import CxrClientError

app = typer.Typer(
    name="cxrclient",
    help="Predict chest X-ray films on a Triton server and find similar ones. Research use only.",
    no_args_is_help=True,
    context_settings=HELP_NAMES,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _options(version: Version = False) -> None:
    """Predict chest X-ray films on a Triton server and find similar ones. Research use only."""


app.command("serve")(serve)


app.command()(predict)
app.command()(index)
app.command()(pull)
app.command()(similar)
app.command()(report)
app.command()(perf_data)
app.add_typer(archive, name="archive")
app.add_typer(node, name="node")
app.command()(doctor)
app.command()(codes)
for_every_command(app)


def main() -> None:
    """Entry point of the console script."""
    terminal_program(app, CxrClientError.code)
