"""Options that every command of a program takes: how much it says; and those of a program."""

from __future__ import annotations

import functools
import inspect
from typing import Annotated, Any

import typer

from cxrclient.cli.exits import errors_as_exit_codes
from cxrclient.cli.options.added import Command, parameters_of
from cxrclient.cli.terminal import say, talking
from cxrclient.errors import UsageError

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
"""`context_settings` of a program; its commands have the same."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"cxr-triton {version('cxr-triton')}", err=False)
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
]


def _talk(
    *,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            show_default=False,
            help="Say also what is done; -vv: in every detail.",
        ),
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing but errors, beside the results.")
    ] = False,
) -> None:
    """Only its arguments are used."""


def for_every_command(app: typer.Typer) -> None:
    """Give `--verbose` and `--quiet` to every command of a program, and of its groups."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _talking(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            for_every_command(group.typer_instance)


def _talking(command: Command) -> Command:
    parameters = [*parameters_of(command), *parameters_of(_talk)]

    @functools.wraps(command)
    def with_talk(*, verbose: int, quiet: bool, **given: Any) -> None:
        with errors_as_exit_codes():
            if verbose and quiet:
                raise UsageError("Give --verbose or --quiet, not both.")
        with talking(verbose=verbose, quiet=quiet):
            command(**given)

    # Typer reads the one or the other.
    with_talk.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_talk.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_talk
