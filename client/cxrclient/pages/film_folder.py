"""A folder of films in which a film is found by its id, so that a neighbour can be shown."""

from __future__ import annotations

import os
from collections.abc import Collection
from io import BytesIO
from pathlib import Path

from cxrclient.archive import hashed_uid
from cxrclient.errors import FilmError, UsageError
from cxrclient.faults import INTERNAL, internal_error, is_ours
from cxrclient.files import open_regular, sha256_of
from cxrclient.films import HEAD_BYTES, MAX_FILE_BYTES, FilmSearch, file_kind, read_film

__all__ = ["FilmFolder"]

_SOP_INSTANCE_UID = 0x00080018
_FIRST_BYTES = 1 << 16
"""Of a file: so far its UID is looked for, before all of it is read."""


class FilmFolder:
    """Films below a folder, by the ids that they have in an archive.

    Nothing is kept between runs: files are walked in their order, only as far as the films asked
    for so far need, and of each the id is read and no pixel.

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

    def find(self, ids: Collection[str]) -> dict[str, str]:
        """Paths of those of `ids` that are there.

        Raises:
            FilmError: `INTERNAL`: a file could not be read by a fault of ours; asked again, the
                walk goes on behind it.
        """
        wanted = set(ids)
        while not wanted <= self._paths.keys():
            path = next(self._unseen, None)
            if path is None:
                break
            if isinstance(path, FilmError):
                continue
            film_id = _id_of(path)
            if film_id is not None:
                if self._key is not None:
                    film_id = hashed_uid(film_id, self._key)
                self._paths.setdefault(film_id, path)
        return {film_id: self._paths[film_id] for film_id in ids if film_id in self._paths}


def _id_of(path: str) -> str | None:
    """As `read_film` gives it, but of a DICOM file only the first elements are read."""
    try:
        with open_regular(path) as file:
            head = file.read(_FIRST_BYTES)
            kind = file_kind(head[:HEAD_BYTES])
            if kind in ("png", "jpeg") and file.seek(0, os.SEEK_END) <= MAX_FILE_BYTES:
                file.seek(0)
                return sha256_of(file)
        return _sop_instance_uid(head) or read_film(path).film_id if kind else None
    except FilmError as error:
        if error.code == INTERNAL:
            raise
        return None  # it will not be in an archive
    except OSError:
        return None
    except Exception as error:
        raise internal_error(error, path) from error


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
