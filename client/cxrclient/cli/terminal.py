"""Where text meets a terminal: shown without control characters, and to streams that may be gone.

File names, notices of servers and cells of tables are written by others. A terminal obeys some of
what may stand in them (colours, titles, its clipboard, text that runs backwards), and so does rich
(`[red]`). Everything that both command-line programs say goes through here; data (JSON lines, CSV)
does not, and stays exact.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, NoReturn

import typer

from cxrclient.files import cannot_write

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Some languages spell with these two; they move no text.
_JOINERS = "\u200c\u200d"
_STDOUT = "standard output"

_LOGGERS = ("cxrclient", "cxrexport")
_quiet = _verbose = False

INTERRUPT_IGNORED = "SIGINT is ignored here, as in a background job: SIGTERM ends this command."


def shown(text: str, *, lines: bool = False) -> str:
    r"""Text with what a terminal would obey, or nobody would see, in Python's escapes: `\x1b`.

    Control and format characters (also those that change the direction of text), halves of
    characters and characters of no meaning yet.

    Args:
        text: whatever somebody wrote.
        lines: keep line ends, each with two blanks after it: no name begins a line of its own.
    """
    if text.isprintable():
        return text
    return "".join(_shown(character, lines) for character in text)


def _shown(character: str, lines: bool) -> str:
    if lines and character == "\n":
        return "\n  "
    if (
        character.isprintable()
        or character in _JOINERS
        or unicodedata.category(character) == "Zs"  # blanks of other widths
    ):
        return character
    return character.encode("unicode_escape").decode()


@contextlib.contextmanager
def talking(*, verbose: int = 0, quiet: bool = False) -> Iterator[None]:
    """Say more within the block, or less.

    Args:
        verbose: 1 shows on stderr what is done, from the logs; 2 also each detail.
        quiet: nothing but errors on stderr; what goes to stdout stays.
    """
    global _quiet, _verbose
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in _LOGGERS}
    before = _quiet, _verbose
    _quiet, _verbose = quiet, bool(verbose)
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(name)s: %(message)s"))
    if verbose:
        logging.getLogger().addHandler(handler)
    for logger in levels if verbose or quiet else ():
        logger.setLevel([logging.ERROR, logging.INFO, logging.DEBUG][min(verbose, 2)])
    try:
        yield
    finally:
        _quiet, _verbose = before
        logging.getLogger().removeHandler(handler)
        for logger, level in levels.items():
            logger.setLevel(level)


def is_verbose() -> bool:
    """Whether the command was asked to say more."""
    return _verbose


def counted(number: int, what: str = "film") -> str:
    """How many there are of something: 1 film, 2 films."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def say(sentence: object, *, err: bool = True, lines: bool = False, **style: Any) -> None:
    """Print a sentence; on stderr, where nobody may hear it any more, that ends no run.

    Args:
        sentence: is made safe to show.
        err: on stderr, else on stdout.
        lines: as in `shown`.
        style: of `typer.secho`; red is an error, which `--quiet` does not silence.

    Raises:
        OSError: stdout cannot be written.
    """
    if err and _quiet and style.get("fg") != "red":
        return
    text = shown(str(sentence), lines=lines)
    with contextlib.suppress(OSError) if err else contextlib.nullcontext():
        typer.secho(text, err=err, **style)


def is_ignored(number: signal.Signals) -> bool:
    """Say whether who started this program wants the signal ignored: nohup does, and `&`."""
    return signal.getsignal(number) is signal.SIG_IGN


def say_if_interrupts_are_ignored() -> None:
    """Say what ends a command that whoever started it made deaf to Ctrl-C."""
    if is_ignored(signal.SIGINT):
        say(INTERRUPT_IGNORED)


def cell(text: object, style: str = "") -> Text:
    """Text for a table or a line of rich, as it is: nothing in it is markup."""
    from rich.text import Text

    return Text(shown(str(text)), style)


def console(
    *,
    file: IO[str] | None = None,
    stderr: bool = False,
    width: int | None = None,
    quiet: bool = False,
) -> Console:
    """A console of rich that takes text as it is, and shows it safely.

    What is to be bold or red is a `Text` (`cell`), never markup in a string.
    """
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            options |= {"markup": False, "emoji": False}
            return super().render_str(shown(text, lines=True), **options)

        def on_broken_pipe(self) -> None:
            raise  # what is being handled; rich would leave without a word

    quiet = quiet or (stderr and _quiet)
    return Plain(
        file=file, stderr=stderr, width=width, quiet=quiet, markup=False, emoji=False,
        highlight=False,
    )  # fmt: skip


def sentence_of(error: OSError) -> str:
    """What the operating system refused, as one sentence.

    Args:
        error: with its `errno`.
    """
    act = {_STDOUT: "write to", None: "read or write"}.get(error.filename, "use")
    return cannot_write(error.filename, error, act)


class Formatter(logging.Formatter):
    """Lines of a log."""

    def format(self, record: logging.LogRecord) -> str:
        """As its parent."""
        return shown(super().format(record), lines=True)


def terminal_program(app: Callable[[], object], code: str) -> NoReturn:
    """Run a command-line program so that no result is lost without a word.

    Args:
        app: ends with SystemExit.
        code: of the errors that are the operating system's.

    Raises:
        SystemExit: with its code; 1 where what it wrote to stdout did not arrive.
    """
    _prepare_streams()
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Formatter("%(message)s"))
    status: Any = 0
    try:
        app()
    except SystemExit as end:
        status = end.code
    except OSError as error:
        if error.errno is None:
            raise
        status = 1
        say(f"{code}: {sentence_of(error)}", fg="red")
    if (refused := _refused_by(sys.stdout)) is not None:
        if not status:
            status = 1
            say(f"{code}: {sentence_of(refused)}", fg="red")
        _let_go(sys.stdout)
    if _refused_by(sys.stderr) is not None:
        _let_go(sys.stderr)
    raise SystemExit(status)


def _refused_by(stream: IO[str]) -> OSError | None:
    """Why what was written to a stream cannot be sent; None where it was."""
    try:
        stream.flush()
    except OSError as error:
        return error
    except ValueError:  # closed by whoever made it
        return None
    return None


def _let_go(stream: IO[str]) -> None:
    """Keep the interpreter from failing over it once more, with a code of its own, as it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _prepare_streams() -> None:
    """Take the places of standard streams that the caller closed (`>&-`), and name stdout.

    A trap: the next file that is opened would have the number of the closed stream, and what is
    printed would go into it. Stdout becomes a file that refuses, so that results are not lost
    quietly; there is nobody to hear what is said on stderr.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if sys.platform != "win32":
        before = sys.stdout
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(1, "w", closefd=False)),
            encoding=before.encoding if before else "utf-8",
            errors=before.errors if before else "strict",
            line_buffering=bool(before and before.line_buffering),
            write_through=bool(getattr(before, "write_through", False)),
        )


class _Stdout(io.FileIO):
    """Stdout that says its name where it cannot be written, as other files do."""

    def write(self, data: Any) -> int:
        """As its parent."""
        try:
            return super().write(data)
        except OSError as error:
            error.filename = _STDOUT
            raise
