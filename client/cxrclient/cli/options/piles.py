"""Options of the commands that search for films, said once: `@with_pile` adds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.options.added import adding
from cxrclient.errors import UsageError

if TYPE_CHECKING:
    from cxrclient.films import FilmSearch

Films = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILES|FOLDERS|GLOBS...",
        help="Films (DICOM, PNG, JPEG), folders and zips with everything below them, DICOMDIRs, "
        "quoted globs, or - for a film on stdin.",
        show_default=False,
    ),
]
Results = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.jsonl",
        help="In place of films, the stored results of `cxrclient predict`; nothing is predicted.",
    ),
]
_FilesFrom = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|-",
        help="Take paths from this list too, a line each (or NUL behind each); - is stdin.",
    ),
]
_Follow = Annotated[
    bool,
    typer.Option("--follow", help="Go into linked folders too, each folder once."),
]
_ListSkipped = Annotated[
    bool,
    typer.Option("--list-skipped", help="Name each file that was skipped in folders and zips."),
]
_STDIN = "-"


@dataclass(frozen=True)
class Pile:
    """How films are searched for, beside what is named."""

    files_from: str | None
    follow: bool
    list_skipped: bool

    def refuse_beside_results(self, films: list[str] | None) -> None:
        """Make sure that no films are given where stored results stand in their place.

        Raises:
            UsageError: there are some.
        """
        if films or self.files_from:
            raise UsageError("Give films or --results, not both.")

    def search(self, films: list[str] | None) -> FilmSearch:
        """Make the search.

        Args:
            films: as named on the command line.

        Raises:
            UsageError: nothing is named, the list cannot be read, or stdin is wanted twice.
        """
        from cxrclient.films import FilmSearch, read_paths

        named, listed = films or [], []
        wants_stdin = _STDIN in named or self.files_from == _STDIN
        stdin = binary_stdin() if wants_stdin else None
        if not named and self.files_from is None:
            raise UsageError("Name films: files, folders, zips or globs, or give --files-from.")
        if self.files_from == _STDIN and stdin:
            if _STDIN in named:
                raise UsageError("stdin is a film (-) or a list (--files-from -), not both.")
            listed = read_paths(stdin, "The list on stdin")
        elif self.files_from is not None:
            try:
                with Path(self.files_from).open("rb") as file:
                    listed = read_paths(file, self.files_from)
            except OSError as error:
                raise UsageError(f"Cannot read {self.files_from}: {error.strerror}.") from error
        return FilmSearch(
            named,
            listed=listed,
            follow=self.follow,
            stdin=stdin,
            keep_passed_over=self.list_skipped,
        )


def binary_stdin() -> IO[bytes]:
    """Stdin, for reading bytes.

    Raises:
        UsageError: who started this program closed it.
    """
    try:
        return typer.get_binary_stream("stdin")
    except (RuntimeError, AttributeError, ValueError) as error:
        raise UsageError("stdin is closed here. Name a file in the place of -.") from error


def _pile(
    *, files_from: _FilesFrom = None, follow: _Follow = False, list_skipped: _ListSkipped = False
) -> Pile:
    return Pile(files_from, follow, list_skipped)


with_pile = adding("pile", _pile)
"""Give a command the options of a search, in the place of its argument `pile`.

The command takes `films: Films = None` and `*, pile: Pile`, for `pile.search(films)`.
"""
