"""`cxrclient`: gathers the commands. Imports nothing heavy, so `--help` is instant."""

from __future__ import annotations

import typer

from cxrclient.cli.archive import archive
from cxrclient.cli.doctor import doctor
from cxrclient.cli.index import index
from cxrclient.cli.perf_data import perf_data
from cxrclient.cli.predict import predict
from cxrclient.cli.report import report
from cxrclient.cli.serve import serve
from cxrclient.cli.similar import similar
from cxrclient.cli.terminal import terminal_program
from cxrclient.errors import CxrClientError

app = typer.Typer(
    name="cxrclient",
    help="Predict chest X-ray films on a Triton server and find similar ones. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _options() -> None:
    """Predict chest X-ray films on a Triton server and find similar ones. Research use only."""


app.command("serve")(serve)


app.command()(predict)
app.command()(index)
app.command()(similar)
app.command()(report)
app.command()(perf_data)
app.command()(perf_data)
app.add_typer(archive, name="archive")
app.command()(doctor)


def main() -> None:
    """Entry point of the console script."""
    terminal_program(app, CxrClientError.code)
