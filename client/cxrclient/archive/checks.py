"""What is in an archive, and whether it is whole (`mending.py` mends what is not)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from cxrclient.archive.clear_uids import has_clear_uid
from cxrclient.archive.identity import HASHED_UID
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus import rows as archive_rows
from cxrclient.archive.milvus.index_kinds import IndexKind
from cxrclient.archive.milvus.rows import EMBEDDING_SIZE, ArchivedFilm
from cxrclient.files import short_hash

_SAMPLE = 50
"""Films that are searched for by their own embedding."""
_NAMED = 20
"""Ids that a problem names; it counts all."""


@dataclass(frozen=True)
class ArchiveStats:
    """What is in an archive.

    Attributes:
        films: how many.
        patients: how many keys of patients there are.
        without_patient: films of nobody known.
        labels: label source → label → films.
        with_days: films with the days since the patient's first film.
        hashed_ids: whether ids are keyed hashes; None where there are no films.
        model_digest: of the model whose embeddings they are.
        index: the kind of index, with its parameters.
        collections: name in Milvus → digest of its model; the one in use, and those beside it.
        collection: the one in use.
    """

    films: int
    patients: int
    without_patient: int
    labels: Mapping[str, Mapping[str, int]]
    with_days: int
    hashed_ids: bool | None
    model_digest: str
    index: IndexKind
    collections: Mapping[str, str]
    collection: str


@dataclass(frozen=True)
class ArchiveFault:
    """Something in an archive that should not be.

    Attributes:
        code: DUPLICATE_ID, BITS_FLIPPED, BAD_ID, CLEAR_UID, NO_VECTOR, NOT_FINITE, ZERO_VECTOR,
            SAME_VECTOR, NOT_FOUND or FOREIGN_DIGEST; of a file also UNREADABLE_FILE and
            UNREADABLE_ROW.
        message: what it means, and what to do.
        count: how many films have it.
        ids: of the first of them.
    """

    code: str
    message: str
    count: int
    ids: tuple[str, ...] = ()


_MEND = "`cxrclient archive verify --mend`"
_AGAIN = f"{_MEND} takes it out; index it again, or import a backup."
_MEANINGS = {
    "DUPLICATE_ID": f"the id is there more than once. {_MEND} leaves one of them.",
    "BITS_FLIPPED": f"by its checksum the film is not what was stored. {_AGAIN}",
    "BAD_ID": "no id that this archive takes: another program wrote it. "
    f"{_MEND} takes the film out.",
    "CLEAR_UID": f"a UID is in clear in an archive of hashed ones. {_MEND} hashes it.",
    "NO_VECTOR": f"the film has no embedding of 128 numbers. {_AGAIN}",
    "NOT_FINITE": f"the embedding has NaN or infinite values. {_AGAIN}",
    "ZERO_VECTOR": f"the embedding is all zeros, as no film's is. {_AGAIN}",
    "SAME_VECTOR": "the embedding is that of another id: one film, stored twice. Look at both, and "
    "remove one: `cxrclient archive remove --id`.",
    "NOT_FOUND": "the film is stored, but a search for its own embedding does not find it. "
    f"{_MEND} builds the index anew.",
}
OF_FILES = {
    "UNREADABLE_ROW": "Milvus Lite cannot read the film's row, which may keep the archive from "
    f"opening. {_AGAIN}",
    "UNREADABLE_FILE": "SQLite cannot read the archive's file. Import a backup into a new archive.",
}
"""Meanings of what is wrong with an archive's file (`mending.verify_file`)."""


def fault_meanings() -> dict[str, str]:
    """Return code → what it means and what to do, for every code of an `ArchiveFault`."""
    foreign = (
        "the embeddings are of another model than the server's, or than those in use. Move the "
        "archive with `cxrclient archive migrate`."
    )
    return {**_MEANINGS, **OF_FILES, "FOREIGN_DIGEST": foreign}


@dataclass
class _Findings:
    """Counts problems while films pass by, one at a time."""

    hashed_ids: bool
    named_most: int | None
    counts: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)
    _seen: set[bytes] = field(default_factory=set)
    _last: str | None = None

    def add(self, code: str, film_id: str, count: int = 1) -> None:
        self.counts[code] += count
        ids = self.named.setdefault(code, [])
        if film_id and (self.named_most is None or len(ids) < self.named_most):
            ids.append(film_id)

    def look_at(self, film: ArchivedFilm) -> None:
        if film.id == self._last:  # they come by ascending id
            self.add("DUPLICATE_ID", film.id)
        self._last = film.id
        if not film.is_as_stored():
            self.add("BITS_FLIPPED", film.id)
        if not archive_rows.is_id(film.id):
            self.add("BAD_ID", film.id)
        if self.hashed_ids and (not film.id.startswith(HASHED_UID) or has_clear_uid(film.metadata)):
            self.add("CLEAR_UID", film.id)
        vector = film.embedding
        if vector.shape != (EMBEDDING_SIZE,):
            self.add("NO_VECTOR", film.id)
        elif not np.isfinite(vector).all():
            self.add("NOT_FINITE", film.id)
        elif not vector.any():
            self.add("ZERO_VECTOR", film.id)
        else:
            digest = short_hash(vector.tobytes(), 12)
            if digest in self._seen:
                self.add("SAME_VECTOR", film.id)
            self._seen.add(digest)

    def problems(self) -> Iterator[ArchiveFault]:
        for code, meaning in _MEANINGS.items():
            if self.counts[code]:
                yield ArchiveFault(code, meaning, self.counts[code], tuple(self.named[code]))


def stats(index: SimilarityIndex) -> ArchiveStats:
    """Count what is in an archive; every film is looked at."""
    labels: dict[str, Counter[str]] = {}
    patients: set[str] = set()
    films = without = with_days = 0
    for film in index.films():
        films += 1
        labels.setdefault(film.label_source or "none", Counter())[film.label or "none"] += 1
        with_days += "days" in film.metadata
        if film.patient_key:
            patients.add(film.patient_key)
        else:
            without += 1
    return ArchiveStats(
        films=films,
        patients=len(patients),
        without_patient=without,
        labels={source: dict(counts.most_common()) for source, counts in labels.items()},
        with_days=with_days,
        hashed_ids=index.has_hashed_ids(),
        model_digest=index.model_digest,
        index=index.kind,
        collections=index.collections(),
        collection=index.collection,
    )


def verify(
    index: SimilarityIndex, server_digest: str | None = None, *, named_most: int | None = _NAMED
) -> list[ArchiveFault]:
    """Look at every film of an archive, and search for some.

    Args:
        index: the archive.
        server_digest: of the server's model; None asks nothing about it.
        named_most: ids that a fault names; None for all, as `mend` wants them.

    Returns:
        What is wrong; nothing is changed. All memory it takes is twelve bytes a film.
    """
    hashed = index._store.one_id(index.collection, f'id >= "{HASHED_UID}" and id < "h;"')
    findings = _Findings(hashed is not None, named_most)
    sample: list[ArchivedFilm] = []
    films, step = 0, max(1, len(index) // _SAMPLE)
    for film in index.films():
        findings.look_at(film)
        if films % step == 0:
            sample.append(film)
        films += 1
    # A query shows one of several rows with one id, its count all of them.
    hidden = len(index) - films
    if hidden > 0:
        findings.add("DUPLICATE_ID", "", hidden)
    for film_id in _not_found(index, sample):
        findings.add("NOT_FOUND", film_id)
    return [*findings.problems(), *_foreign(index, server_digest)]


def _not_found(index: SimilarityIndex, films: Iterable[ArchivedFilm]) -> Iterator[str]:
    for film in films:
        usable = film.embedding.shape == (EMBEDDING_SIZE,) and np.isfinite(film.embedding).all()
        if not usable:
            continue
        found = index.search(film.embedding, 1, one_per_patient=False)
        # At distance 0 lies the film itself, or one with the very same embedding.
        if not found or found[0].distance > 1e-3 * max(1.0, float(np.linalg.norm(film.embedding))):
            yield film.id


def _foreign(index: SimilarityIndex, server_digest: str | None) -> Iterator[ArchiveFault]:
    if server_digest is not None and server_digest != index.model_digest:
        yield ArchiveFault(
            "FOREIGN_DIGEST",
            f"the embeddings are of the model {index.model_digest[:12]}, the server has "
            f"{server_digest[:12]}: cxrclient archive migrate FILES --uri {index.uri}",
            len(index),
        )
    for name, digest in index.collections().items():
        if name != index.collection and digest != index.model_digest:
            yield ArchiveFault(
                "FOREIGN_DIGEST",
                f"the collection {name} beside it is of the model {digest[:12]}: an old one, or a "
                "migration that was not finished.",
                0,
            )
