"""`cxrexport recipe`: which recipes there are, what one says, and which keys it may have."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrclient.cli import console, say
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.cli.options.recipe import Settings

recipe = typer.Typer(no_args_is_help=True)


@recipe.callback()
def _options() -> None:
    """See which recipes there are, what one says, and which keys it may have."""


@recipe.command("list")
def names() -> None:
    """List the recipes that ship; `--recipe` also takes the path of a YAML file."""
    with errors_as_exit_codes():
        from rich import box
        from rich.table import Table

        from cxrexport.training.recipe import load_recipe, shipped_recipes

        table = Table("recipe", "what it is", "size", "positive", box=box.SIMPLE)
        for name, what in shipped_recipes().items():
            known = load_recipe(name)
            table.add_row(name, what, f"{known.spec.size_px} px", known.positive)
        console().print(table)


@recipe.command()
def show(
    name: Annotated[str, typer.Argument(help="Of a recipe that ships, or a YAML file's path.")],
    settings: Settings = None,
) -> None:
    """Print a whole recipe as YAML, with all that it extends and all that is set.

    What is printed is a recipe of the same digest: `cxrexport recipe show starter > mine.yaml`.
    """
    with errors_as_exit_codes():
        from cxrexport.training.recipe import load_recipe, recipe_yaml

        whole = load_recipe(name, settings or ())
        typer.echo(recipe_yaml(whole), nl=False)
        say(f"Digest {whole.digest}")


@recipe.command()
def reference() -> None:
    """Print every key of a recipe with what it may be, as Markdown (docs/recipes.md)."""
    with errors_as_exit_codes():
        from cxrexport.training.recipe.reference import reference_page

        typer.echo(reference_page(), nl=False)
