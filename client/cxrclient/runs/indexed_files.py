"""Files on their way into the archive: which are still to do, and which film each became."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrclient.archive import Added, FilmMetadata, SimilarityIndex, archive_id
from cxrclient.errors import FilmError
from cxrclient.films import Film
from cxrclient.runs.index_journal import IndexJournal
from cxrclient.runs.journal import FileIdentity, file_identity
from cxrclient.runs.read_ahead import Known, batches, read_with_id
from cxrclient.wire import Prediction

# The id in the archive, the prediction, and what else is kept.
Row = tuple[str, Prediction, dict[str, Any]]


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
        return archive_id(film_id, self._uid_key)

    def take_kept(self) -> int:
        """How many were passed over since this was asked before."""
        kept, self.kept = self.kept, 0
        return kept

    def to_do(
        self, films: Iterable[str | FilmError], *, resume: bool
    ) -> Iterator[str | Film | FilmError]:
        """The files to predict; with `resume`, those alone that the archive has not.

        What had to be read for that comes as its Film, and what cannot be read, or was rejected by
        an earlier run, as its FilmError.
        """
        if resume:
            for batch in batches(films, self._known):
                yield from self._not_done(batch)
            return
        for film in films:
            if isinstance(film, str):
                self._under_way[film] = _File(file_identity(film))
            yield film

    def failed(self, error: FilmError) -> None:
        """A file has no prediction."""
        path = error.path or ""
        file = self._under_way.pop(path, None)
        if self._journal and file and file.identity and error.status == "rejected":
            self._journal.rejected(path, file.identity, self._metadata.get(path), error)

    def stored(self, films: Iterable[tuple[str | None, str]]) -> None:
        """The archive has these files' films: paths, and ids there."""
        rows = []
        for path, film_id in films:
            file = self._under_way.pop(path or "", None)
            if path and file and file.identity:
                rows.append((path, file.identity, self._metadata.get(path), film_id))
        if self._journal and rows:
            self._journal.stored(rows)

    def write(self, batch: list[Row]) -> Added:
        """Put films into the archive, then into the journal.

        Of a film that is in the batch twice, the last row counts.

        Raises:
            ArchiveUnavailable: the archive failed.
        """
        there = self._index.known(film_id for film_id, _, _ in batch)
        rows = list(
            {
                row[0]: row
                for row in batch
                if row[0] not in there or self._is_to_write_over(row[1].path)
            }.values()
        )
        done = Added(0, len(batch) - len(rows))
        if rows:
            done += self._index.add(
                [film_id for film_id, _, _ in rows],
                np.stack([prediction.embedding for _, prediction, _ in rows]),
                [row for _, _, row in rows],
                there=there,
            )
        self.stored((prediction.path, film_id) for film_id, prediction, _ in batch)
        return done

    def _is_to_write_over(self, path: str | None) -> bool:
        file = self._under_way.get(path or "")
        return path in self._metadata or (file is not None and file.is_new)

    def _not_done(self, batch: list[Known]) -> Iterator[str | Film | FilmError]:
        there = self._index.known(film_id for _, film_id in batch if film_id)
        kept = [
            (film if isinstance(film, str) else film.path, film_id)
            for film, film_id in batch
            if film_id and film_id in there
        ]
        self.stored(kept)
        self.kept += len(kept)
        yield from (film for film, film_id in batch if film_id not in there)

    def _known(self, film: str) -> Known:
        """A file, and the id that its film has in the archive if it is there; or its rejection."""
        file = self._under_way[film] = _File(file_identity(film))
        row = self._metadata.get(film)
        if file.identity is None:
            return film, None
        seen = self._journal.seen(film, file.identity, row) if self._journal else None
        if seen is None:
            # With a row of metadata, the film may be there without what the row says.
            return (film, None) if row else read_with_id(film, self._uid_key)
        if not seen.holds:
            file.is_new = True
            return film, None
        if seen.rejection:
            self._under_way.pop(film)  # the journal has it
            code, message = seen.rejection
            raise FilmError(code, message, status="rejected", path=film)
        return film, seen.film_id
