"""Which films of an archive are meant: by their ids, by a patient's number, by a filter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from cxrclient.archive.archive_key import key_of
from cxrclient.archive.identity import HASHED_UID, archive_id, patient_key
from cxrclient.archive.milvus import erasure, rows as archive_rows
from cxrclient.archive.milvus.filters import one_of
from cxrclient.archive.milvus.raw_filter import parenthesised

if TYPE_CHECKING:
    from cxrclient.archive.index import SimilarityIndex
    from cxrclient.archive.milvus.rows import ArchivedFilm

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
    return sorted({film_id for name in everywhere(index) for film_id in _ids(index, name, wanted)})


def ids_there(index: SimilarityIndex, ids: Iterable[str]) -> list[str]:
    """Those of `ids` that some collection of the archive has."""
    wanted = list(ids)
    return sorted(
        {
            film_id
            for name in everywhere(index)
            for some in batches(wanted)
            for film_id in index._store.ids(name, some)
        }
    )


def ids_matching(index: SimilarityIndex, where: str) -> list[str]:
    """Ids of the films in use of which a filter in Milvus's language is true.

    Raises:
        ArchiveInput: it cannot be read, or names a column that no film has.
    """
    return sorted(_ids(index, index.collection, _condition(index, where)))


def films_matching(
    index: SimilarityIndex, *, patients: Collection[str] | None = None, where: str | None = None
) -> Iterator[ArchivedFilm]:
    """Films in use by ascending id, read as they are asked for; all where nothing is asked.

    Args:
        index: the archive.
        patients: keys; films of these patients only.
        where: a filter in Milvus's language.

    Raises:
        ArchiveInput: the filter cannot be read, or names a column that no film has.
    """
    asked = [] if where is None else [_condition(index, where)]
    if patients is not None:
        asked.append(one_of("patient_key", sorted(patients)))
    for rows in index._store.scan(index.collection, _BATCH, among=" and ".join(asked)):
        yield from (archive_rows.archived(row, index._layout) for row in rows)


def everywhere(index: SimilarityIndex) -> Iterator[str]:
    """Each collection of the archive while it can be asked: the one in use, and those beside."""
    for name in index.collections():
        if name == index.collection:
            yield name
            continue
        with erasure.loaded(index._store, name):
            yield name


def _ids(index: SimilarityIndex, collection: str, where: str) -> Iterator[str]:
    for rows in index._store.scan(collection, _BATCH, ("id",), where):
        yield from (str(row["id"]) for row in rows)


def batches(ids: Iterable[str]) -> Iterator[str]:
    """Filters that together match the ids."""
    wanted = list(ids)
    for start in range(0, len(wanted), _BATCH):
        yield one_of("id", wanted[start : start + _BATCH])


def _condition(index: SimilarityIndex, where: str) -> str:
    index.columns.require((), where)
    return parenthesised(where, index._layout)
