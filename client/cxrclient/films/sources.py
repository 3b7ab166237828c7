"""Files, folders and globs, as typed → films, one after the other.

What is named outright is taken as it is: if it is no film, its line in the results says so. Inside
a folder, what is evidently no film is passed over and counted: files whose first bytes are neither
DICOM, PNG nor JPEG and whose name does not say that they should be; hidden files; DICOMDIR; masks
and overlays that an earlier run wrote there.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from cxrclient.errors import FilmError, UsageError
from cxrclient.files import NoRegularFile, open_regular
from cxrclient.films.kinds import HEAD_BYTES, PNG_SIGNATURE, file_kind

__all__ = ["FILM_SUFFIXES", "FilmSearch", "is_own_picture"]

FILM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima", ".png", ".jpg", ".jpeg", ".jpe"})
"""Names that promise a film: an empty `a.dcm` in a folder gets its line in the results."""

_OWN_MARK = b"Software\0cxrclient"  # the text that cxrclient.pages.render puts before the pixels


class FilmSearch:
    """Finds films lazily, sorted, folders with all that is below them.

    Iterating gives paths; a folder that cannot be read comes as a FilmError in its place, and the
    others go on.

    Args:
        arguments: paths of films and folders, and globs (`**` for any depth). An existing path is
            never taken for a glob.

    Attributes:
        arguments: as given.
        passed_over: how many files in folders were evidently no films, so far.
        unmatched: globs that matched nothing, so far.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = arguments
        self.passed_over = 0
        self.unmatched: list[str] = []

    def __iter__(self) -> Iterator[str | FilmError]:
        for argument in self.arguments:
            if os.path.lexists(argument) or not glob.has_magic(argument):
                yield from self._films_at(argument)
            else:
                yield from self._matches(argument)

    def at_least_one(self) -> Iterator[str | FilmError]:
        """The films, found as they are asked for.

        Raises:
            UsageError: there is none; at once, before a server is asked for anything.
        """
        films = iter(self)
        first = next(films, None)
        if first is None:
            where = ", ".join(self.unmatched) or "the folders given"
            passed_over = f"; {self.passed_over} files there are no films" * bool(self.passed_over)
            raise UsageError(f"No film in {where}{passed_over}. Name DICOM, PNG or JPEG files.")
        return chain([first], films)

    def _matches(self, pattern: str) -> Iterator[str | FilmError]:
        matches = _expanded(pattern)
        if not matches:
            self.unmatched.append(pattern)
        for match in matches:
            yield from self._films_at(match)

    def _films_at(self, path: str) -> Iterator[str | FilmError]:
        try:
            is_folder = Path(path).is_dir()
        except (OSError, ValueError):  # reading it says what is wrong
            is_folder = False
        if is_folder:
            yield from self._films_below(path)
        else:
            yield path

    def _films_below(self, top: str) -> Iterator[str | FilmError]:
        folders = [top]
        while folders:
            folder = folders.pop()
            try:
                below, names, links = _names(folder)
            except OSError as error:
                yield _unreadable(folder, error)
                continue
            self.passed_over += links
            folders += [str(Path(folder, name)) for name in reversed(below)]
            for name in names:
                path = str(Path(folder, name))
                if self._is_film(path, name):
                    yield path

    def _is_film(self, path: str, name: str) -> bool:
        is_film = (
            not name.startswith(".")
            and name.upper() != "DICOMDIR"
            and (Path(name).suffix.lower() in FILM_SUFFIXES or _starts_like_a_film(path))
            and not is_own_picture(path)
        )
        self.passed_over += not is_film
        return is_film


def is_own_picture(path: str | Path) -> bool:
    """Whether a file is a mask or an overlay that `cxrclient predict` wrote."""
    path = Path(path)
    try:
        if path.suffix.lower() != ".png":
            return False
        with open_regular(path) as file:
            head = file.read(256)
    except OSError:
        return False
    return head.startswith(PNG_SIGNATURE) and _OWN_MARK in head


def _expanded(pattern: str) -> list[str]:
    """What a shell would make of the pattern, with `**` for folders of any depth.

    Links to folders are not followed under `**`, and hidden files have to be asked for.
    """
    parts = Path(pattern).parts
    literal = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    top, rest = Path(*parts[:literal]), parts[literal:]
    hidden = any(part.startswith(".") for part in rest)
    deep = "**" in rest  # it goes into folders by itself
    return sorted(
        str(path)
        for path in top.glob(str(Path(*rest)))
        if (hidden or not any(part.startswith(".") for part in path.relative_to(top).parts))
        and not (deep and path.is_dir())
    )


def _names(folder: str) -> tuple[list[str], list[str], int]:
    """Folders that are not hidden, and files, both sorted; and how many links lead to folders.

    Links to folders are not followed: they may lead back up. A name is all that is held of a file.
    """
    below, names, links = [], [], 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                names.append(entry.name)
            elif entry.is_symlink():
                links += 1
            elif not entry.name.startswith("."):
                below.append(entry.name)
    return sorted(below), sorted(names), links


def _starts_like_a_film(path: str) -> bool:
    try:
        with open_regular(path) as file:
            return file_kind(file.read(HEAD_BYTES)) is not None
    except NoRegularFile:
        return False
    except OSError:
        return True  # reading it again says in the results what is wrong


def _unreadable(folder: str, error: OSError) -> FilmError:
    reason = error.strerror or type(error).__name__
    return FilmError(
        "FOLDER_UNREADABLE",
        f"The folder cannot be read: {reason}. Its films are not in these results.",
        status="failed",
        path=folder,
    )
