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
from cxrclient.files import HeldOpen, NoRegularFile, open_regular
from cxrclient.films.kinds import HEAD_BYTES, PNG_SIGNATURE, file_kind

FILM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima", ".png", ".jpg", ".jpeg", ".jpe"})
"""Names that promise a film: an empty `a.dcm` in a folder gets its line in the results."""

_LOOKED_AT = 256  # bytes: a film's first, and where our own pictures have their mark
_OWN_MARK = b"Software\0cxrclient"  # the text that cxrclient.pages.render puts before the pixels


class FilmSearch:
    """Finds films lazily, sorted, folders with all that is below them.

    Iterating gives paths; a folder that cannot be read comes as a FilmError in its place, and the
    others go on. A file that had to be looked into stays open until it is read as a film, so that
    it is opened once; so many are found ahead of reading that 64 are held, the last ones.

    Args:
        arguments: paths of films and folders, and globs (`**` for any depth). An existing path is
            never taken for a glob.
        by_name: look into no file, and take what may be a film by its name.

    Attributes:
        arguments: as given.
        passed_over: how many files in folders were evidently no films, so far.
        looked_into_in_vain: how many of them only their first bytes told from films.
        unmatched: globs that matched nothing, so far.
    """

    def __init__(self, arguments: Sequence[str], *, by_name: bool = False) -> None:
        self.arguments = arguments
        self.passed_over = 0
        self.looked_into_in_vain = 0
        self.unmatched: list[str] = []
        self._by_name = by_name
        self._opened = HeldOpen()

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
                film = self._film(folder, name)
                if film is not None:
                    yield film

    def _film(self, folder: str, name: str) -> str | None:
        """The path of a folder's file; None where it is passed over."""
        if name.startswith(".") or name.upper() == "DICOMDIR":
            self.passed_over += 1
            return None
        path, suffix = str(Path(folder, name)), Path(name).suffix.lower()
        named = suffix in FILM_SUFFIXES
        if self._by_name or (named and suffix != ".png"):
            return path
        film = self._looked_into(path, named=named)
        self.passed_over += film is None
        self.looked_into_in_vain += film is None
        return film

    def _looked_into(self, path: str, *, named: bool) -> str | None:
        try:
            file = open_regular(path)
        except OSError as error:  # reading it again says in the results what is wrong
            return None if isinstance(error, NoRegularFile) and not named else path
        opened = self._opened.hold(path, file)
        try:
            head = file.read(_LOOKED_AT)
        except OSError:
            return opened
        if not starts_as_own_picture(head) and (named or file_kind(head[:HEAD_BYTES])):
            return opened
        opened.close()
        return None


def is_own_picture(path: str | Path) -> bool:
    """Whether a file is a mask or an overlay that `cxrclient predict` wrote."""
    path = Path(path)
    try:
        if path.suffix.lower() != ".png":
            return False
        with open_regular(path) as file:
            return starts_as_own_picture(file.read(_LOOKED_AT))
    except OSError:
        return False


def starts_as_own_picture(head: bytes) -> bool:
    """Whether a file that begins so is a mask or an overlay that `cxrclient predict` wrote."""
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


def _unreadable(folder: str, error: OSError) -> FilmError:
    reason = error.strerror or type(error).__name__
    return FilmError(
        "FOLDER_UNREADABLE",
        f"The folder cannot be read: {reason}. Its films are not in these results.",
        status="failed",
        path=folder,
    )
