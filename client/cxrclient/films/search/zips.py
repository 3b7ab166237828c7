"""Films in a zip, read where they are: nothing is unpacked to the disk.

A zip is somebody else's: its names may lead out of it, and a few kilobytes may unpack to terabytes.
So names are never used as places, and what claims to be larger than a film, or to have shrunk as no
film shrinks, is not read.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Self

from cxrclient.errors import FilmError, NotReadable, TooLarge
from cxrclient.files import OpenedPath, open_regular
from cxrclient.films.limits import MAX_FILE_BYTES

_DIRECTORY_MOST_BYTES = 64 << 20
"""Of a zip's list of members: some half a million."""
_RATIO_MOST, _RATIO_FROM_BYTES = 200, 16 << 20
"""Real films shrink to a half or a third; black ones, which hold nothing, to a thousandth."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_KEPT_OPEN = 8
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What zipfile raises over damaged ones, beside OSError."""


class PackedPath(OpenedPath):
    """A film in a zip, by a path that goes on into it: `films.zip/a/1.dcm`."""

    __slots__ = ("_archive", "_info")
    _archive: _Archive
    _info: zipfile.ZipInfo

    def __new__(cls, archive: _Archive, info: zipfile.ZipInfo) -> Self:
        """Name a member of a zip."""
        self = str.__new__(cls, f"{archive.path}/{info.filename}")
        self._files = []
        self._archive, self._info = archive, info
        return self

    @property
    def inner(self) -> PurePosixPath:
        """The part of the path that is in the zip."""
        return PurePosixPath(self._info.filename)

    def take(self) -> io.BufferedReader:
        """The member, open at its beginning; as often as it is asked for."""
        try:
            return io.BufferedReader(_Member(self._archive.opened().open(self._info)))
        except (FilmError, *_DAMAGE) as error:
            raise _damaged() from error

    def about(self) -> os.stat_result | None:
        """What the system says of the zip; None for one that came on stdin."""
        with contextlib.suppress(OSError, FilmError, *_DAMAGE):
            return self._archive.about()
        return None


class Zips:
    """Opens zips; the last eight stay open."""

    def __init__(self) -> None:
        self._kept: deque[_Archive] = deque()
        self._named: tuple[str, dict[str, PackedPath]] = ("", {})

    def members(self, path: str, data: bytes | None = None) -> Iterator[PackedPath | FilmError]:
        """Each file in a zip, in the order of names; or why it, or the whole zip, is not read.

        Args:
            path: of the zip.
            data: its bytes, where it is no file.
        """
        archive = _Archive(path, data, self._keep)
        try:
            infos = [info for info in archive.opened().infolist() if not info.is_dir()]
        except FilmError as error:
            yield _of(error, path)
            return
        except _DAMAGE:
            yield _of(NotReadable("It is no zip, or is damaged. Pack the films again."), path)
            return
        except OSError as error:
            reason = error.strerror or type(error).__name__
            message = f"The zip cannot be read: {reason}. Its films are not in these results."
            yield FilmError("FILE_UNREADABLE", message, status="failed", path=path)
            return
        if sum(info.compress_size for info in infos) > archive.size:
            overlap = "Files in the zip share their bytes, as only bombs do. Pack the films again."
            yield _of(TooLarge(overlap), path)
            return
        if any(info.flag_bits & _ENCRYPTED for info in infos):
            yield _of(NotReadable("The zip asks for a password. Unpack it, name its folder."), path)
        for info in sorted(infos, key=lambda info: info.filename):
            if not info.flag_bits & _ENCRYPTED:
                fault = _fault(info)
                yield PackedPath(archive, info) if fault is None else _of(fault, path)

    def member(self, path: str) -> PackedPath | None:
        """The member that a path into a zip names, as results do; None where there is none."""
        above = (parent for parent in Path(path).parents if parent.suffix.lower() == ".zip")
        zipped = next((parent for parent in above if parent.is_file()), None)
        if zipped is None:
            return None
        if self._named[0] != str(zipped):
            members = self.members(str(zipped))
            packed = {str(each): each for each in members if isinstance(each, PackedPath)}
            self._named = (str(zipped), packed)
        return self._named[1].get(path)

    def _keep(self, archive: _Archive) -> None:
        self._kept.append(archive)
        if len(self._kept) > _KEPT_OPEN:
            self._kept.popleft().let_go()


def is_leading_out(name: str) -> bool:
    """Whether a name in a zip or a DICOMDIR leads, or may lead, out of its folder."""
    return (
        name.startswith("/")
        or any(part == ".." for part in PurePosixPath(name).parts)
        or any(character in name for character in "\\\0:")
    )


def _fault(info: zipfile.ZipInfo) -> FilmError | None:
    """Why a member is not even opened; None where it may be."""
    name = repr(info.filename[-100:])
    if is_leading_out(info.filename):
        return NotReadable(f"The name {name} leads out of the zip. Pack the films again.")
    if info.compress_type not in _METHODS:
        return NotReadable(f"{name} is packed in an unusual way. Pack it again with Deflate.")
    if info.file_size > MAX_FILE_BYTES:
        return TooLarge(f"{name} has more than {MAX_FILE_BYTES >> 20} MiB, more than any film.")
    if info.file_size > max(_RATIO_FROM_BYTES, _RATIO_MOST * info.compress_size):
        return TooLarge(f"{name} would unpack to more than {_RATIO_MOST} times its size: no film.")
    return None


class _Archive:
    """A zip that is opened when it is asked for, and again where it was let go."""

    def __init__(self, path: str, data: bytes | None, keep: Callable[[_Archive], None]) -> None:
        self.path = path
        self.size = 0
        self._data = data
        self._keep = keep
        self._open: tuple[zipfile.ZipFile, _Bounded | io.BytesIO] | None = None

    def opened(self) -> zipfile.ZipFile:
        """Open it; what is being read of it stays open after `let_go` too."""
        held = self._open
        if held is None:
            file: _Bounded | io.BytesIO
            if self._data is None:
                file = _Bounded(open_regular(self.path).detach())
                self.size = os.fstat(file.fileno()).st_size
            else:
                file, self.size = io.BytesIO(self._data), len(self._data)
            held = self._open = (zipfile.ZipFile(file), file)
            self._keep(self)
        return held[0]

    def about(self) -> os.stat_result | None:
        self.opened()
        held = self._open
        return os.fstat(held[1].fileno()) if held and self._data is None else None

    def let_go(self) -> None:
        self._open = None


class _Bounded(io.BufferedReader):
    """A zip's file; the list of its members is no longer than a real one."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _DIRECTORY_MOST_BYTES:
            raise TooLarge("The zip lists more files than any pile of films has. Pack fewer each.")
        return super().read(size)

    def __del__(self) -> None:
        self.close()


class _Member(io.RawIOBase):
    """A member as the system would give it: damage is an error of reading."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return int(self._file.seek(offset, whence))

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._file.read(len(buffer))
        except _DAMAGE as error:
            raise _damaged() from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _damaged() -> OSError:
    return OSError(errno.EIO, "It is damaged in the zip")


def _of(error: FilmError, path: str) -> FilmError:
    error.path = path
    return error
