"""How errors become one line on stderr and an exit code."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from cxrclient.cli.terminal import say, sentence_of
from cxrclient.errors import CxrClientError, ServerUnreachable

_Outcome = TypeVar("_Outcome")

# What errors call an argument of Python is an option of a command.
_OPTIONS = {
    "`address`": "`--server`",
    "`timeout_s`": "`--timeout`",
    "`jobs`": "`--jobs`",
    "`hash_uids`": "`--hash-uids`",
    "`tls.ca`": "`--server-tls-ca`",
    "`tls.certificate`": "`--server-tls-cert`",
    "`tls.key`": "`--server-tls-key`",
    "`tls.server_name`": "`--server-tls-name`",
    "`embeddings`": "`--embeddings`",
    "`maps`": "`--maps`",
    "`metadata`": "`--metadata`",
    "`results`": "`--results`",
    "`token`": "`--server-token-file`",
}


class Exit(enum.IntEnum):
    """Exit codes of every command, each with what it means."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Exit:
        """Make one.

        Args:
            code: for the shell.
            meaning: in words.
        """
        made = int.__new__(cls, code)
        made._value_, made.meaning = code, meaning
        return made

    OK = 0, "everything succeeded"
    FAILED = 1, "failed"
    USAGE = 2, "wrong usage"
    SOME_FILMS = 3, "some films failed or were rejected"
    NO_SERVER = 5, "no server answers, or `node check` found something wrong"
    INTERRUPTED = 130, "interrupted"


def exit_of(fates: Mapping[str, int]) -> Exit:
    """Give the exit code of a run over films.

    Args:
        fates: how many films have each status, and each code of those without a prediction.
    """
    if fates.get(ServerUnreachable.code):
        return Exit.NO_SERVER
    return Exit.SOME_FILMS if fates.get("rejected") or fates.get("failed") else Exit.OK


def with_options(outcome: _Outcome) -> _Outcome:
    """Give the same outcome; an error speaks of options now, and no more of arguments."""
    if isinstance(outcome, CxrClientError):
        outcome.message = naming_options(outcome.message)
    return outcome


def naming_options(text: str) -> str:
    """The same words, with options in the place of arguments."""
    for argument, option in _OPTIONS.items():
        text = text.replace(argument, option)
    return text


@contextmanager
def errors_as_exit_codes(root: Any = CxrClientError) -> Iterator[None]:
    """Print an error as `CODE: sentence` on stderr and leave with its exit code.

    A CxrClientError, and what the operating system refuses: a full disk, a closed stdout.

    Args:
        root: of another tree of errors, each with an exit code, that may come too.
    """
    try:
        yield
    except (CxrClientError, root) as error:
        say(with_options(error), lines=True, fg="red")
        raise typer.Exit(error.exit_code) from error
    except OSError as error:
        if error.errno is None:  # raised by a program, not by the system
            raise
        say(f"{root.code}: {sentence_of(error)}", fg="red")
        raise typer.Exit(Exit.FAILED) from error
    except KeyboardInterrupt as interrupt:
        say("Interrupted.")
        raise typer.Exit(Exit.INTERRUPTED) from interrupt
