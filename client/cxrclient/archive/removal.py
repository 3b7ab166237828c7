"""Films taken out of an archive for good: no search finds them, and no byte of its file names them.

A collection beside the one in use, left by a migration, has the same films, so it loses them too.
Results, reports, exports and backups that name a film are files of their own, and stay.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from cxrclient.archive.mending import verify_file
from cxrclient.archive.milvus import erasure
from cxrclient.archive.selection import batches, everywhere
from cxrclient.errors import ArchiveUnavailable

if TYPE_CHECKING:
    from cxrclient.archive.index import SimilarityIndex


def remove(index: SimilarityIndex, ids: Collection[str]) -> int:
    """Remove films from all collections of an archive, and then their bytes.

    A file is rewritten, which needs room for it twice more. A server writes its segments anew; it
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
    for name in everywhere(index):
        for some in batches(ids):
            erasure.delete(index._store, name, some)
    erasure.erase_deleted(index._store, index.collections())
    return before - len(index)


def damaged_rows(index: SimilarityIndex, *, by_checksum: bool = True) -> int:
    """Count rows of which nobody can tell whose they are: unreadable ones, or with flipped bits.

    Where some cannot be read, no checksum is looked at, for Milvus Lite may end over such a row;
    `verify --mend` finds all.

    Raises:
        ArchiveUnavailable: the archive failed, or its file is damaged as a whole.
    """
    faults = verify_file(index.uri)
    if any(not fault.count for fault in faults):
        raise ArchiveUnavailable(f"{index.uri}: {faults[0].message}")
    unreadable = sum(fault.count for fault in faults)
    if unreadable or not by_checksum:
        return unreadable
    return sum(not film.is_as_stored() for film in index.films())
