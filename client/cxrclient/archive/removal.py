"""Films taken out of an archive for good: no search finds them, and no byte of its file names them.

A collection beside the one in use, left by a migration, has the same films, so it loses them too.
Results, reports, exports and backups that name a film are files of their own, and stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from cxrclient.archive.archive_key import key_of
from cxrclient.archive.identity import HASHED_UID, archive_id, patient_key
from cxrclient.archive.milvus.filters import one_of
from cxrclient.archive.milvus.raw_filter import parenthesised

if TYPE_CHECKING:
    from cxrclient.archive.index import SimilarityIndex

_BATCH = 1000


def patient_keys(index: SimilarityIndex, number: str, issuers: Iterable[str] = ()) -> set[str]:
    """The keys that a patient may have in an archive, by the site's key of it.

    Args:
        index: the archive.
        number: the patient's, in clear.
        issuers: who may have issued it, (0010,0021). A film whose header names its issuer has
            another key than one that names none.

    Raises:
        UsageError: the number is empty, or there is no key.
        KeyMismatch: the site's key is not the archive's.
    """
    key = key_of(index)
    return {patient_key(number, key), *(patient_key(number, key, issuer) for issuer in issuers)}


def ids_as_kept(index: SimilarityIndex, ids: Iterable[str]) -> list[str]:
    """Ids as an archive has them: of one with hashed UIDs, the hashes of those in clear.

    Raises:
        UsageError: a hash is needed, and there is no key.
        KeyMismatch: likewise, and the site's key is not the archive's.
    """
    ids = list(ids)
    in_clear = [film_id for film_id in ids if not film_id.startswith(HASHED_UID)]
    key = key_of(index) if in_clear and index.has_hashed_ids() else None
    return [archive_id(film_id, key) for film_id in ids]


def ids_of_patients(index: SimilarityIndex, keys: Collection[str]) -> list[str]:
    """Ids of all films of these patients, in whatever collection of the archive they are."""
    wanted = one_of("patient_key", sorted(keys))
    return sorted({film_id for name in _everywhere(index) for film_id in _ids(index, name, wanted)})


def ids_there(index: SimilarityIndex, ids: Iterable[str]) -> list[str]:
    """Those of `ids` that some collection of the archive has."""
    wanted = list(ids)
    return sorted(
        {
            film_id
            for name in _everywhere(index)
            for some in _batches(wanted)
            for film_id in index._store.ids(name, some)
        }
    )


def ids_matching(index: SimilarityIndex, where: str) -> list[str]:
    """Ids of the films in use of which a filter in Milvus's language is true.

    Raises:
        ArchiveInput: it cannot be read, or names a column that no film has.
    """
    index.columns.require((), where)
    return sorted(_ids(index, index.collection, parenthesised(where, index._layout)))


def remove(index: SimilarityIndex, ids: Collection[str]) -> int:
    """Remove films from all collections of an archive, and then their bytes.

    A file is rewritten, which needs room for it once more. A server writes its segments anew; it
    removes the old ones, and its log of what came in, in its own time. Nothing else can use the
    archive meanwhile, where it is a file. Interrupted, do it again, with the same ids or none.

    Args:
        index: the archive.
        ids: of the films; unknown ones are no error.

    Returns:
        How many films fewer are in use.

    Raises:
        ArchiveUnavailable: the archive failed, or the disk is full. What is removed stays so.
    """
    before = len(index)
    for name in _everywhere(index):
        for some in _batches(ids):
            index._store.delete(name, some)
    index._store.erase_deleted(index.collections())
    return before - len(index)


def _everywhere(index: SimilarityIndex) -> Iterator[str]:
    """Each collection of the archive while it can be asked: the one in use, and those beside."""
    for name in index.collections():
        if name == index.collection:
            yield name
            continue
        with index._store.loaded(name):
            yield name


def _ids(index: SimilarityIndex, collection: str, where: str) -> Iterator[str]:
    for rows in index._store.scan(collection, _BATCH, ("id",), where):
        yield from (str(row["id"]) for row in rows)


def _batches(ids: Iterable[str]) -> Iterator[str]:
    wanted = list(ids)
    for start in range(0, len(wanted), _BATCH):
        yield one_of("id", wanted[start : start + _BATCH])
