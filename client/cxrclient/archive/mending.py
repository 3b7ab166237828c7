"""What `verify` finds in an archive, mended where that can be done without the films' files.

A film whose embedding or row is damaged is taken out: index it again, or import it from a backup,
which puts in what the archive lacks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrclient.archive.archive_key import key_of
from cxrclient.archive.checks import OF_FILES, ArchiveFault
from cxrclient.archive.clear_uids import without_uids
from cxrclient.archive.identity import archive_id
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus import erasure, lite, lite_file
from cxrclient.archive.milvus.filters import one_of
from cxrclient.archive.milvus.rows import ArchivedFilm

_BATCH = 500
_TAKEN_OUT = ("BITS_FLIPPED", "BAD_ID", "NO_VECTOR", "NOT_FINITE", "ZERO_VECTOR")


@dataclass(frozen=True)
class Mended:
    """What was done about a fault.

    Attributes:
        code: of the fault.
        message: what was done, and what is still to do.
        ids: of the films that it was done to.
    """

    code: str
    message: str
    ids: tuple[str, ...] = ()


_OUT = "taken out. Index these films again, or import a backup."


def verify_file(uri: str | Path) -> list[ArchiveFault]:
    """Look at an archive's file before Milvus Lite opens it, for one bad row may keep it shut.

    Args:
        uri: of the archive; one on a server has no file, and so no fault here.

    Raises:
        ArchiveUnavailable: the file is in use, not there, or no archive.
    """
    if _on_server(uri):
        return []
    path = lite.acquire(str(uri), create=False)
    try:
        if why := lite_file.fault_of_file(path):
            code = "UNREADABLE_FILE"
            return [ArchiveFault(code, f"{OF_FILES[code]} ({why})", 0)]
        rows = lite_file.broken_rows(path)
    finally:
        lite.release(path)
    ids = tuple(row.id for row in rows)
    code = "UNREADABLE_ROW"
    return [ArchiveFault(code, OF_FILES[code], len(ids), ids)] if rows else []


def mend_file(uri: str | Path) -> list[Mended]:
    """Take the rows that Milvus Lite cannot read out of an archive's file.

    Args:
        uri: of the archive.

    Raises:
        ArchiveUnavailable: as `verify_file`; or the disk is full, and the file is as it was.
    """
    if _on_server(uri):
        return []
    path = lite.acquire(str(uri), create=False)
    try:
        rows = lite_file.broken_rows(path)
        if rows:
            lite_file.take_out(path, rows)
    finally:
        lite.release(path)
    ids = tuple(row.id for row in rows)
    return [Mended("UNREADABLE_ROW", _OUT, ids)] if rows else []


def mend(index: SimilarityIndex, faults: Iterable[ArchiveFault]) -> Iterator[Mended]:
    """Mend an archive: films that cannot be used are taken out, others are put in order.

    Args:
        index: the archive.
        faults: of `verify` with all ids named. Two films with one embedding stay, for nobody here
            knows which of them is right; so does what is of another model.

    Raises:
        UsageError: UIDs are to be hashed, and there is no key.
        KeyMismatch: likewise, and the site's key is not the archive's.
        ArchiveUnavailable: the archive failed; what was yielded before is mended.
    """
    found = {fault.code: fault for fault in faults}
    bad = {code: set(found[code].ids) for code in _TAKEN_OUT if code in found}
    for code, ids in bad.items():
        _delete(index, ids)
        yield Mended(code, _OUT, tuple(sorted(ids)))
    gone = set().union(*bad.values())
    if "CLEAR_UID" in found:
        ids = set(found["CLEAR_UID"].ids) - gone
        _hash_uids(index, ids)
        yield Mended("CLEAR_UID", "hashed.", tuple(sorted(ids)))
    if "DUPLICATE_ID" in found:
        ids = set(_doubled(index))
        _add(index, index.films(ids))  # over all that have its id
        yield Mended("DUPLICATE_ID", "one of each is left.", tuple(sorted(ids)))
    if "NOT_FOUND" in found:
        index._store.build_index(index.collection, index.kind)
        yield Mended("NOT_FOUND", "the index is built anew.")
    if bad or "CLEAR_UID" in found:
        erasure.erase_deleted(index._store, [index.collection])


def _on_server(uri: str | Path) -> bool:
    return str(uri).startswith(("http://", "https://"))


def _delete(index: SimilarityIndex, ids: Collection[str]) -> None:
    for some in _batches(ids):
        erasure.delete(index._store, index.collection, one_of("id", some))


def _add(index: SimilarityIndex, films: Iterable[ArchivedFilm], key: bytes | None = None) -> None:
    """Write films over those with their ids; with `key`, their UIDs as hashes."""
    some = list(films)
    if some:
        index.add(
            [archive_id(film.id, key) for film in some],
            np.stack([film.embedding for film in some]),
            [without_uids(film.about(), key) if key else film.about() for film in some],
        )


def _hash_uids(index: SimilarityIndex, ids: Collection[str]) -> None:
    key = key_of(index)
    for some in _batches(ids):
        _add(index, index.films(some), key)
        _delete(index, [film_id for film_id in some if archive_id(film_id, key) != film_id])


def _doubled(index: SimilarityIndex) -> Iterator[str]:
    """Ids that several rows have: Milvus counts them all, and shows one."""
    for rows in index._store.scan(index.collection, _BATCH, ("id",)):
        yield from _doubled_of(index, list(dict.fromkeys(str(row["id"]) for row in rows)))


def _doubled_of(index: SimilarityIndex, ids: list[str]) -> Iterator[str]:
    if index._store.count(index.collection, one_of("id", ids)) == len(ids):
        return
    if len(ids) == 1:
        yield ids[0]
        return
    half = len(ids) // 2
    yield from _doubled_of(index, ids[:half])
    yield from _doubled_of(index, ids[half:])


def _batches(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]
