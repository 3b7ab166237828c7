"""Options that several commands share: given to a command in the place of one of its arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from cxrclient.cli.exits import errors_as_exit_codes

Command = Callable[..., None]


def adding(argument: str, read: Callable[..., Any]) -> Callable[[Command], Command]:
    """Make a decorator that gives a command options in the place of an argument.

    Args:
        argument: of the command; keyword-only, as is what follows it.
        read: whose arguments are the options; makes of them what the command gets.
    """
    options = parameters_of(read)

    def decorate(command: Command) -> Command:
        parameters = []
        for parameter in parameters_of(command):
            parameters += options if parameter.name == argument else [parameter]

        @functools.wraps(command)
        def with_options(**given: Any) -> None:
            told = {option.name: given.pop(option.name) for option in options}
            with errors_as_exit_codes():
                what = read(**told)
            command(**given, **{argument: what})

        # Typer reads the one or the other.
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_options

    return decorate


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """List a function's parameters, with annotations as Typer reads them."""
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return [each.replace(annotation=hints[each.name]) for each in parameters]
