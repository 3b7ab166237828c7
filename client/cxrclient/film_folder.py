"""A folder of films in which a film is found by its id, so that a neighbour can be shown."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from cxrclient.errors import FilmError, UsageError
from cxrclient.film import HEAD_BYTES, file_kind, read_film
from cxrclient.identity import hashed_uid
from cxrclient.sources import FilmSearch

__all__ = ["FilmFolder"]


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
        """Paths of those of `ids` that are there."""
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
        with Path(path).open("rb") as file:
            kind = file_kind(file.read(HEAD_BYTES))
            if kind in ("png", "jpeg"):
                file.seek(0)
                return hashlib.file_digest(file, "sha256").hexdigest()
        return _sop_instance_uid(path) or read_film(path).film_id if kind else None
    except (OSError, FilmError):
        return None  # it will not be in an archive


def _sop_instance_uid(path: str) -> str | None:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    from cxrclient._dicom_stream import BoundedReader

    try:
        with Path(path).open("rb") as file:
            header = dcmread(
                BoundedReader(file),
                force=True,
                stop_before_pixels=True,
                specific_tags=["SOPInstanceUID"],
            )
        return str(header.get("SOPInstanceUID") or "").strip("\0 ") or None
    except (InvalidDicomError, ValueError, EOFError, AttributeError, KeyError, TypeError):
        return None
