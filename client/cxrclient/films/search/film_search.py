"""Files, folders, globs, zips and DICOMDIRs, as typed → films, one after the other.

What is named outright is taken as it is: if it is no film, its line in the results says so. Inside
a folder or a zip, what is evidently no film is passed over and counted: files whose first bytes are
neither DICOM, PNG nor JPEG and whose name does not say that they should be; what is hidden;
DICOMDIR; masks and overlays that an earlier run wrote there.
"""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO

from cxrclient.errors import FilmError, NotReadable, TooLarge, UsageError
from cxrclient.files import HeldOpen, NoRegularFile, OpenedPath, open_regular
from cxrclient.films.kinds import HEAD_BYTES, PNG_SIGNATURE, file_kind
from cxrclient.films.limits import MAX_FILE_BYTES
from cxrclient.films.search import passed_over as kinds
from cxrclient.films.search.dicomdir import films_of_dicomdir
from cxrclient.films.search.passed_over import PassedOver
from cxrclient.films.search.zips import PackedPath, Zips

FILM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima", ".png", ".jpg", ".jpeg", ".jpe"})
"""Names that promise a film: an empty `a.dcm` in a folder gets its line in the results."""

STDIN = "-"
_ZIP_SIGNATURES = (b"PK\3\4", b"PK\5\6")
_LOOKED_AT = 256  # bytes: a film's first, and where our own pictures have their mark
_OWN_MARK = b"Software\0cxrclient"  # the text that cxrclient.pages.render puts before the pixels


class FilmSearch:
    """Finds films lazily, sorted, folders and zips with all that is below them.

    Iterating gives paths; what cannot be read comes as a FilmError in its place, and the others go
    on. A film in a zip has a path that goes on into it (`films.zip/a/1.dcm`). A file that had to be
    looked into stays open until it is read as a film, so that it is opened once; so many are found
    ahead of reading that 64 are held, the last ones.

    Args:
        arguments: paths of films, folders, zips and DICOMDIRs, and globs (`**` for any depth). An
            existing path is never taken for a glob.
        listed: more paths, of which none is a glob.
        follow: go into folders that links in folders lead to; each folder is searched once.
        stdin: where the path `-` is read from; None where it is a file like any other.
        by_name: look into no file, and take what may be a film by its name.
        keep_passed_over: keep the path of all that is passed over.

    Attributes:
        arguments: as given.
        skipped: what in folders and zips was evidently no film, so far, by kind.
        looked_into_in_vain: how many of them only their first bytes told from films.
        unmatched: globs that matched nothing, so far.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        listed: Sequence[str] = (),
        follow: bool = False,
        stdin: IO[bytes] | None = None,
        by_name: bool = False,
        keep_passed_over: bool = False,
    ) -> None:
        self.arguments = arguments
        self.skipped = PassedOver(keep_paths=keep_passed_over)
        self.looked_into_in_vain = 0
        self.unmatched: list[str] = []
        self._listed = listed
        self._follow = follow
        self._stdin = stdin
        self._by_name = by_name
        self._opened = HeldOpen()
        self._zips = Zips()
        self._searched: set[tuple[int, int]] = set()

    @property
    def passed_over(self) -> int:
        """How many files in folders and zips were evidently no films, so far."""
        return self.skipped.kinds.total()

    @property
    def given(self) -> list[str]:
        """All that is searched: arguments and listed paths."""
        return [*self.arguments, *self._listed]

    def names_alone(self) -> FilmSearch:
        """The same search by names; it reads no stdin, and can count beside the run."""
        return FilmSearch(self.arguments, listed=self._listed, follow=self._follow, by_name=True)

    def __iter__(self) -> Iterator[str | FilmError]:
        for argument in self.arguments:
            if os.path.lexists(argument) or not glob.has_magic(argument):
                yield from self._films_at(argument)
            else:
                yield from self._matches(argument)
        for path in self._listed:
            yield from self._films_at(path)

    def at_least_one(self) -> Iterator[str | FilmError]:
        """The films, found as they are asked for.

        Raises:
            UsageError: there is none; at once, before a server is asked for anything.
        """
        films = iter(self)
        first = next(films, None)
        if first is None:
            where = ", ".join(self.unmatched) or "the folders given"
            if not self.given:
                where = "the list, which is empty"
            passed_over = f" (passed over there: {self.skipped})" * bool(self.passed_over)
            raise UsageError(f"No film in {where}{passed_over}. Name DICOM, PNG or JPEG files.")
        return chain([first], films)

    def at(self, path: str) -> str | FilmError:
        """The film that a result names by its path, which may go on into a zip."""
        return next(self._films_at(path), path)

    def _matches(self, pattern: str) -> Iterator[str | FilmError]:
        matches = _expanded(pattern)
        if not matches:
            self.unmatched.append(pattern)
        for match in matches:
            yield from self._films_at(match)

    def _films_at(self, path: str) -> Iterator[str | FilmError]:
        if path == STDIN and self._stdin is not None:
            yield from self._given(self._stdin)
            return
        try:
            is_folder, is_file = Path(path).is_dir(), Path(path).is_file()
        except (OSError, ValueError):  # reading it says what is wrong
            is_folder = is_file = False
        if is_folder:
            yield from self._films_below(path)
        elif is_file and _is_zip(path):
            yield from self._films_in_zip(self._zips.members(path))
        elif is_file and Path(path).name.upper() == kinds.DICOMDIR:
            yield from films_of_dicomdir(path, self.skipped)
        else:
            yield self._zips.member(path) or path

    def _given(self, stdin: IO[bytes]) -> Iterator[str | FilmError]:
        """The film that comes on stdin, or the films of a zip that comes there."""
        data = stdin.read(MAX_FILE_BYTES + 1)
        if not data or len(data) > MAX_FILE_BYTES:
            most = f"More than {MAX_FILE_BYTES >> 20} MiB came on stdin. Name a file instead."
            error = TooLarge(most) if data else NotReadable("Nothing came on stdin.")
            error.path = STDIN
            yield error
        elif data.startswith(_ZIP_SIGNATURES):
            yield from self._films_in_zip(self._zips.members(STDIN, data))
        else:
            yield OpenedPath(STDIN, io.BufferedReader(io.BytesIO(data)))

    def _films_below(self, top: str) -> Iterator[str | FilmError]:
        folders = [top]
        links: list[str] = []  # after all folders that are really there
        while folders or links:
            folder, is_link = (folders.pop(), False) if folders else (links.pop(0), True)
            if not self._is_new(folder, anyhow=not is_link and folder == top):
                self.skipped.add(folder, kinds.SEEN_FOLDER)
                continue
            try:
                below, names, links_here = self._names(folder)
            except OSError as error:
                yield _unreadable(folder, error)
                continue
            links += links_here
            folders += reversed(below)
            for name in names:
                yield from self._of_folder(folder, name)

    def _is_new(self, folder: str, *, anyhow: bool) -> bool:
        """Whether a folder was not searched before, by whatever name; asked where links are."""
        if not self._follow:
            return True
        try:
            about = Path(folder).stat()
        except OSError:  # searching it says what is wrong
            return True
        place = (about.st_dev, about.st_ino)
        is_new = anyhow or place not in self._searched
        self._searched.add(place)
        return is_new

    def _names(self, folder: str) -> tuple[list[str], list[str], list[str]]:
        """Paths of folders that are not hidden, names of files, paths of links to follow.

        All sorted. A name is all that is held of a file.
        """
        below, names, links = [], [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                path = str(Path(folder, entry.name))
                if not entry.is_dir():
                    names.append(entry.name)
                elif entry.name.startswith("."):
                    self.skipped.add(path, kinds.HIDDEN)
                elif not entry.is_symlink():
                    below.append(path)
                elif self._follow:
                    links.append(path)
                else:
                    self.skipped.add(path, kinds.LINK)
        return sorted(below), sorted(names), sorted(links)

    def _of_folder(self, folder: str, name: str) -> Iterator[str | FilmError]:
        path = str(Path(folder, name))
        kind = _kind_passed_over(name)
        if kind is not None:
            self.skipped.add(path, kind)
        elif _is_zip(name) and Path(path).is_file():
            yield from self._films_in_zip(self._zips.members(path))
        elif (film := self._film(path)) is not None:
            yield film

    def _films_in_zip(
        self, members: Iterable[PackedPath | FilmError]
    ) -> Iterator[PackedPath | str | FilmError]:
        for member in members:
            if isinstance(member, FilmError):
                yield member
            elif kind := next(filter(None, map(_kind_passed_over, member.inner.parts)), None):
                self.skipped.add(member, kind)
            elif _is_zip(member):
                self.skipped.add(member, kinds.INNER_ZIP)
            elif (film := self._film(member)) is not None:
                yield film

    def _film(self, path: str) -> str | None:
        """The path of a file in a folder or zip; None where it is passed over."""
        suffix = Path(path).suffix.lower()
        named = suffix in FILM_SUFFIXES
        if self._by_name or (named and suffix != ".png"):
            return path
        try:
            file = open_regular(path)
        except NoRegularFile:
            if named:
                return path  # reading it again says in the results what is wrong
            self.looked_into_in_vain += 1
            self.skipped.add(path, kinds.NO_FILE)
            return None
        except OSError:
            return path
        opened = path if isinstance(path, PackedPath) else self._opened.hold(path, file)
        try:
            head = file.read(_LOOKED_AT)
        except OSError:
            return opened
        own = starts_as_own_picture(head)
        if not own and (named or file_kind(head[:HEAD_BYTES])):
            return opened
        file.close()
        self.looked_into_in_vain += 1
        self.skipped.add(path, kinds.OWN_PICTURE if own else None)
        return None


def _kind_passed_over(name: str) -> str | None:
    """Of what is passed over for its name alone, the kind."""
    if name.startswith(".") or name == "__MACOSX":
        return kinds.HIDDEN
    return kinds.DICOMDIR if name.upper() == kinds.DICOMDIR else None


def _is_zip(path: str) -> bool:
    return path.lower().endswith(".zip")


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


def _unreadable(folder: str, error: OSError) -> FilmError:
    reason = error.strerror or type(error).__name__
    return FilmError(
        "FOLDER_UNREADABLE",
        f"The folder cannot be read: {reason}. Its films are not in these results.",
        status="failed",
        path=folder,
    )
