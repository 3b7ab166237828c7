"""A folder of films in which a film is found by its id, so that a neighbour can be shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from cxrclient.archive import archive_id
from cxrclient.errors import FilmError, UsageError
from cxrclient.faults import INTERNAL, internal_error, is_ours
from cxrclient.files import open_regular, read_opened
from cxrclient.films import HEAD_BYTES, MAX_FILE_BYTES, Film, FilmSearch, file_kind, read_film

__all__ = ["FilmFolder"]

_SOP_INSTANCE_UID = 0x00080018
_FIRST_BYTES = 1 << 16
"""Of a file: so far its UID is looked for, before all of it is read."""


class FilmFolder:
    """Films below a folder, by the ids that they have in an archive.

    Nothing is kept between runs: files are walked in their order, only as far as the films asked
    for so far need. Each is opened once, and read whole only where it is asked for, or is no DICOM
    file that begins with its id.

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
        self._unseen = iter(FilmSearch([str(folder)]))
        self._key = key
        self._paths: dict[str, str] = {}

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
            found, film = self._look_at(path, wanted)
            if isinstance(film, FilmError) and film.code == INTERNAL:
                yield from ((film_id, film) for film_id in wanted)
                return
            if found is None:
                continue
            self._paths.setdefault(found, path)
            if found in wanted:
                wanted.remove(found)
                yield found, film

    def _look_at(
        self, path: str, wanted: Collection[str]
    ) -> tuple[str | None, str | Film | FilmError]:
        """A file's id, and the film, where it had to be read whole."""
        film_id = None
        try:
            with open_regular(path) as file:
                head = file.read(_FIRST_BYTES)
                kind = file_kind(head[:HEAD_BYTES])
                uid = _sop_instance_uid(head) if kind == "dicom" else None
                film_id = archive_id(uid, self._key) if uid else None
                if kind is None or (film_id and film_id not in wanted):
                    return film_id, path
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
