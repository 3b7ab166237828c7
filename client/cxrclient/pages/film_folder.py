"""A folder of films in which a film is found by its id, so that a neighbour can be shown."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from cxrclient.archive import archive_id
from cxrclient.errors import FilmError, UsageError
from cxrclient.faults import INTERNAL, internal_error, is_ours
from cxrclient.files import HeldOpen, open_regular, read_opened
from cxrclient.films import (
    HEAD_BYTES,
    MAX_FILE_BYTES,
    Film,
    FilmSearch,
    file_kind,
    read_film,
    starts_as_own_picture,
)

_SOP_INSTANCE_UID = 0x00080018
_FIRST_BYTES = 1 << 16
"""Of a file: so far its UID is looked for, before all of it is read."""


class FilmFolder:
    """Films below a folder, by the ids that they have in an archive.

    Nothing is kept between runs: files are walked in their order, only as far as the films asked
    for so far need. Each is opened once, and read whole only where it is asked for, or is no DICOM
    file that begins with its id; of those passed, the last 64 stay open for a later question.

    Args:
        folder: with all that is below it.
        key: of the hashed ids, where the archive has such; else None.

    Raises:
        UsageError: it is no folder.
    """

    def __init__(self, folder: str | Path, key: bytes | None = None) -> None:
        if not Path(folder).is_dir():
            raise UsageError(
                f"{folder} is no folder. Give the one that the archive's films are in."
            )
        self._unseen = iter(FilmSearch([str(folder)], by_name=True))
        self._key = key
        self._paths: dict[str, str] = {}
        self._read_already: set[str] = set()
        self._passed = HeldOpen()

    def leave_out(self, film_id: str, path: str) -> str:
        """Let the walk not open the file of a film that was read already; gives its archive id."""
        archived = archive_id(film_id, self._key)
        self._paths.setdefault(archived, path)
        self._read_already.add(str(Path(path).absolute()))
        return archived

    def find(self, ids: Collection[str]) -> Iterator[tuple[str, str | Film | FilmError]]:
        """Those of `ids` that are there, in any order.

        Yields:
            An id and its film, as it was read just now; its path, where an earlier question passed
            it; its error, where it cannot be read. Where a file could not be read by a fault of
            ours, all that are not found yet have that error (`INTERNAL`); asked again, the walk
            goes on behind it.
        """
        wanted = set(ids)
        for film_id in wanted & self._paths.keys():
            wanted.remove(film_id)
            yield film_id, self._paths[film_id]
        while wanted and (path := next(self._unseen, None)) is not None:
            if isinstance(path, FilmError):  # a folder that cannot be read
                continue
            if str(Path(path).absolute()) in self._read_already:
                continue
            found, film = self._look_at(path, wanted)
            if isinstance(film, FilmError) and film.code == INTERNAL:
                yield from ((film_id, film) for film_id in wanted)
                return
            if found is None:
                continue
            self._paths.setdefault(found, film if isinstance(film, str) else path)
            if found in wanted:
                wanted.remove(found)
                yield found, film

    def files(self, ids: Collection[str]) -> dict[str, str]:
        """Those of `ids` that are there, each with the path of its file."""
        wanted = [film_id for film_id in ids if film_id not in self._paths]
        for _found in self.find(wanted):
            pass
        return {film_id: str(self._paths[film_id]) for film_id in ids if film_id in self._paths}

    def _look_at(
        self, path: str, wanted: Collection[str]
    ) -> tuple[str | None, str | Film | FilmError]:
        """A file's id, and the film, where it had to be read whole; else its path."""
        film_id = None
        try:
            with contextlib.ExitStack() as until_passed:
                file = until_passed.enter_context(open_regular(path))
                head = file.read(_FIRST_BYTES)
                kind = file_kind(head[:HEAD_BYTES])
                if kind is None or starts_as_own_picture(head):
                    return None, path
                uid = _sop_instance_uid(head) if kind == "dicom" else None
                film_id = archive_id(uid, self._key) if uid else None
                if film_id and film_id not in wanted:
                    until_passed.pop_all()
                    return film_id, self._passed.hold(path, file)
                data = read_opened(file, MAX_FILE_BYTES)
            film = replace(read_film(data), path=path)
            return archive_id(film.film_id, self._key), film
        except FilmError as error:
            error.path = path
            return film_id, error
        except OSError:
            return None, path
        except Exception as error:
            return None, internal_error(error, path)


def _sop_instance_uid(head: bytes) -> str | None:
    """The film's UID; None where the head does not tell it."""
    from cxrclient.films import read_partial

    try:
        header = read_partial(
            BytesIO(head), lambda tag, _vr, _length: int(tag) > _SOP_INSTANCE_UID, force=True
        )
        return str(header.get("SOPInstanceUID") or "").strip("\0 ") or None
    except Exception as error:  # whatever damage, or a cut stream, makes pydicom stumble over
        if is_ours(error):
            raise
        return None
