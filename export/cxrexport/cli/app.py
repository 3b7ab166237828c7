"""`cxrexport`: gathers the commands. Imports nothing heavy, so `--help` is instant."""

from __future__ import annotations

import typer

from cxrclient.cli import (
    HELP_NAMES,
    Code,
    Format,
    Version,
    codes_of,
    for_every_command,
    print_codes,
    terminal_program,
)
from cxrexport.cli.admission import admission
from cxrexport.cli.build import build
from cxrexport.cli.check import check
from cxrexport.cli.data import data
from cxrexport.cli.engines import engines
from cxrexport.cli.evaluate import evaluate
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.cli.manifest import manifest
from cxrexport.cli.phantom import phantom
from cxrexport.cli.preview import preview
from cxrexport.cli.quantise import quantise
from cxrexport.cli.recipe import recipe
from cxrexport.cli.study import study
from cxrexport.cli.train import train
from cxrexport.cli.weights import weights
from cxrexport.errors import CxrExportError
from cxrexport.light_start import this_is_a_command

app = typer.Typer(
    name="cxrexport",
    help="Train, export and check the networks behind the cxr ensemble. Research use only.",
    no_args_is_help=True,
    context_settings=HELP_NAMES,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _options(version: Version = False) -> None:
    """Train, export and check the networks behind the cxr ensemble. Research use only."""


@app.command()
def codes(code: Code = None, output: Format = "table") -> None:
    """Say what each code of an error means, and what to do. Those of films: `cxrclient codes`."""
    with errors_as_exit_codes():
        print_codes(codes_of(CxrExportError), code, output)


app.command("data")(data)
app.add_typer(manifest, name="manifest")
app.add_typer(weights, name="weights")
app.add_typer(recipe, name="recipe")
app.command("train")(train)
app.command("evaluate")(evaluate)
app.command("study")(study)
app.command("build")(build)
app.command("admission")(admission)
app.command("quantise")(quantise)
app.command("check")(check)
app.command("engines")(engines)
app.command("phantom")(phantom)
app.command("preview")(preview)
for_every_command(app)


def main() -> None:
    """Entry point of the console script."""
    this_is_a_command()
    terminal_program(app, CxrExportError.code)
