"""How long files stay: what is ended leaves the disk after a while, and stays known."""

from __future__ import annotations

import sqlite3
import time

from cxrclient.node.spool.layout import remove_files
from cxrclient.node.spool.rows import FILMS_ENDED
from cxrclient.node.spool.spool import Spool


def retire(spool: Spool, keep_s: float) -> int:
    """Remove the files of films that nothing was done with for so long; what became of them stays.

    The last that was done is a delivery or a refusal, which may come long after the analysis: so
    long `retry` can bring results. A failed film is taken anew when it comes again.

    Files go before anything is written: on a full disk that makes the room for it.

    Args:
        spool: in which they are.
        keep_s: how long, in seconds.

    Returns:
        How many, of a thousand at most.

    Raises:
        OSError: the disk refuses it for one or more; all were tried.
        sqlite3.Error: likewise.
    """
    before = time.time() - keep_s
    removed, refused = 0, None
    for row in spool.rows.all(f"{FILMS_ENDED} LIMIT 1000", before):
        try:
            removed += _remove(spool, row["uid"], before)
        except (OSError, sqlite3.Error) as error:
            refused = error
    if refused is not None:
        raise refused
    return removed


def _remove(spool: Spool, uid: str, before: float) -> bool:
    """Remove one, unless `retry` or a better copy of it came first; either waits meanwhile."""
    with spool.alone(uid), spool.rows.change() as line:
        if line.execute(f"{FILMS_ENDED} AND uid = ?2", (before, uid)).fetchone() is None:
            return False
        remove_files(spool.folder, uid)
        line.execute("UPDATE films SET retired = 1 WHERE uid = ?", (uid,))
    return True
