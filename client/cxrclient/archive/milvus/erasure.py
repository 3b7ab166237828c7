"""Films deleted from collections of Milvus, and their bytes after them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cxrclient.archive.milvus import lite_file
from cxrclient.archive.milvus.store import LONG_S, Store
from cxrclient.errors import ArchiveUnavailable


def delete(store: Store, collection: str, where: str) -> None:
    """Take out the films of which `where` is true; their bytes stay until `erase_deleted`."""
    with store.mapped():
        store._open.delete(collection, filter=where, timeout=store._timeout_s)


@contextmanager
def loaded(store: Store, collection: str) -> Iterator[None]:
    """Have a collection that is not in use ready for queries, and as it was afterwards."""
    with store.mapped():
        state = store._open.get_load_state(collection, timeout=store._timeout_s)["state"]
        store._open.load_collection(collection, timeout=LONG_S)
    yield
    if "Loaded" not in str(state) and not store.local:
        with store.mapped():
            store._open.release_collection(collection, timeout=store._timeout_s)


def erase_deleted(store: Store, collections: Iterable[str]) -> None:
    """Write all anew without what was deleted; a server removes the old in its own time.

    Raises:
        ArchiveUnavailable: the disk is full; or the server is not done within an hour.
    """
    if store._path is not None:
        lite_file.erase_deleted(store._path)
        return
    for collection in collections:
        with store.mapped():
            # Only what is flushed is compacted.
            store._open.flush(collection, timeout=LONG_S)
            job = store._open.compact(collection, timeout=store._timeout_s)
        _wait_for(store, job)


def _wait_for(store: Store, job: int) -> None:
    """Wait until a server has written its segments anew."""
    until = time.monotonic() + LONG_S
    while True:
        with store.mapped():
            state = store._open.get_compaction_state(job, timeout=store._timeout_s)
        if state == "Completed":
            return
        if time.monotonic() > until:
            raise ArchiveUnavailable(
                f"{store.shown_uri} has not finished its compaction within an hour. The films are "
                "removed; run the same command later to have their bytes erased too."
            )
        time.sleep(0.5)
