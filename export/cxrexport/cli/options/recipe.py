"""The recipe that a command trains by, and what is set otherwise in it."""

from __future__ import annotations

from typing import Annotated

import typer

RecipeName = Annotated[
    str, typer.Option(help="A name of `cxrexport recipe list`, or the path of a YAML file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the recipe, for example classify.epochs=2. Repeatable. "
        "`cxrexport recipe reference` names every key.",
    ),
]
