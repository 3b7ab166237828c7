"""Files on their way into the archive: which are still to do, and which film each became."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from cxrclient.archive import Added, FilmMetadata, SimilarityIndex, hashed_uid
from cxrclient.errors import FilmError
from cxrclient.films import read_film
from cxrclient.runs.index_journal import IndexJournal
from cxrclient.runs.journal import FileIdentity, file_identity
from cxrclient.wire import Prediction

__all__ = ["IndexedFiles", "Row"]

# The id in the archive, the prediction, and what else is kept.
Row = tuple[str, Prediction, dict[str, Any]]

_LOOK_AHEAD = 64
"""Files that the archive is asked for at once when a run is resumed."""


@dataclass
class _File:
    """One under way.

    Attributes:
        identity: from before it was read; None where it could not be asked.
        is_new: whether its film is to be written over, for it has changed.
    """

    identity: FileIdentity | None
    is_new: bool = False


class IndexedFiles:
    """The files of one run; holds those under way, and no more.

    Args:
        index: the archive.
        metadata: film path → its row.
        uid_key: for hashed ids; None for ids in clear.
        journal: what earlier runs saw, and this one sees.

    Attributes:
        kept: films passed over, since `take_kept`.
    """

    def __init__(
        self,
        index: SimilarityIndex,
        metadata: Mapping[str, FilmMetadata],
        uid_key: bytes | None,
        journal: IndexJournal | None,
    ) -> None:
        self._index = index
        self._metadata = metadata
        self._uid_key = uid_key
        self._journal = journal
        self._under_way: dict[str, _File] = {}
        self.kept = 0

    def archive_id(self, film_id: str) -> str:
        """A film's id in the archive."""
        return film_id if self._uid_key is None else hashed_uid(film_id, self._uid_key)

    def take_kept(self) -> int:
        """How many were passed over since this was asked before."""
        kept, self.kept = self.kept, 0
        return kept

    def to_do(self, films: Iterable[str | FilmError], *, resume: bool) -> Iterator[str | FilmError]:
        """The files to predict; with `resume`, those alone that the archive has not.

        A file that an earlier run found to be rejected comes as its FilmError.
        """
        remaining = iter(films)
        while chunk := list(islice(remaining, _LOOK_AHEAD if resume else 1)):
            for film in chunk:
                if isinstance(film, str):
                    self._under_way[film] = _File(file_identity(film))
            yield from self._not_done(chunk) if resume else chunk

    def failed(self, error: FilmError) -> None:
        """A file has no prediction."""
        path = error.path or ""
        file = self._under_way.pop(path, None)
        if self._journal and file and file.identity and error.status == "rejected":
            self._journal.rejected(path, file.identity, self._metadata.get(path), error)

    def is_stored(self, path: str, film_id: str) -> None:
        """The archive has a file's film, under this id."""
        file = self._under_way.pop(path, None)
        if self._journal and file and file.identity:
            self._journal.stored([(path, file.identity, self._metadata.get(path), film_id)])

    def write(self, batch: list[Row]) -> Added:
        """Put films into the archive, then into the journal.

        Raises:
            ArchiveUnavailable: the archive failed.
        """
        there = self._index.known(film_id for film_id, _, _ in batch)
        rows = [row for row in batch if row[0] not in there or self._is_to_write_over(row[1].path)]
        done = Added(0, len(batch) - len(rows))
        if rows:
            done += self._index.add(
                [film_id for film_id, _, _ in rows],
                np.stack([prediction.embedding for _, prediction, _ in rows]),
                [row for _, _, row in rows],
                there=there,
            )
        self._remember(batch)
        return done

    def _is_to_write_over(self, path: str | None) -> bool:
        file = self._under_way.get(path or "")
        return path in self._metadata or (file is not None and file.is_new)

    def _remember(self, batch: list[Row]) -> None:
        stored = []
        for film_id, prediction, _ in batch:
            path = prediction.path or ""
            file = self._under_way.pop(path, None)
            if file and file.identity:
                stored.append((path, file.identity, self._metadata.get(path), film_id))
        if self._journal:
            self._journal.stored(stored)

    def _not_done(self, films: list[str | FilmError]) -> Iterator[str | FilmError]:
        ids: dict[str, str] = {}
        rejections: dict[str, FilmError] = {}
        for film in films:
            if isinstance(film, FilmError):
                continue
            known = self._film_of(film)
            if isinstance(known, FilmError):
                rejections[film] = known
            elif known is not None:
                ids[film] = known
        there = self._index.known(ids.values())
        for film in films:
            if isinstance(film, str) and film in rejections:
                self._under_way.pop(film, None)
                yield rejections[film]
            elif isinstance(film, str) and ids.get(film) in there:
                self.is_stored(film, ids[film])
                self.kept += 1
            else:
                yield film

    def _film_of(self, path: str) -> str | FilmError | None:
        """The id that a file's film has in the archive, if it is there; its rejection; or None."""
        file, row = self._under_way[path], self._metadata.get(path)
        if file.identity is None:
            return None
        seen = self._journal.seen(path, file.identity, row) if self._journal else None
        if seen is None:
            # With a row of metadata, the film may be there without what the row says.
            return None if row else self._id_in_file(path)
        if not seen.holds:
            file.is_new = True
            return None
        if seen.rejection:
            code, message = seen.rejection
            return FilmError(code, message, status="rejected", path=path)
        return seen.film_id

    def _id_in_file(self, path: str) -> str | None:
        try:
            return self.archive_id(read_film(path).film_id)
        except FilmError:
            return None  # predicting it says what is wrong
