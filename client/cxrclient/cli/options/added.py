"""Options that several commands share: given to a command in the place of one of its arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

_Command = Callable[..., None]


def adding(argument: str, read: Callable[..., Any]) -> Callable[[_Command], _Command]:
    """Make a decorator that gives a command options in the place of an argument.

    Args:
        argument: of the command; keyword-only, as is what follows it.
        read: whose arguments are the options; makes of them what the command gets.
    """
    options = _parameters(read)

    def decorate(command: _Command) -> _Command:
        parameters = []
        for parameter in _parameters(command):
            parameters += options if parameter.name == argument else [parameter]

        @functools.wraps(command)
        def with_options(**given: Any) -> None:
            told = {option.name: given.pop(option.name) for option in options}
            command(**given, **{argument: read(**told)})

        # Typer reads the one or the other.
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_options

    return decorate


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return [each.replace(annotation=hints[each.name]) for each in parameters]
