"""How long files stay: what is delivered leaves the disk after a while, and stays known."""

from __future__ import annotations

import json
import time

from cxrclient.node.spool.layout import write_outcome
from cxrclient.node.spool.records import Arrival, Outcome
from cxrclient.node.spool.spool import Spool


def retire(spool: Spool, keep_s: float) -> int:
    """Remove the files of films that are done for so long; what became of them stays.

    Args:
        spool: in which they are.
        keep_s: how long, in seconds.

    Returns:
        How many.
    """
    rows = spool.rows.all(
        "SELECT * FROM films WHERE state = 'done' AND retired = 0 AND finished_at < ? LIMIT 1000",
        time.time() - keep_s,
    )
    for row in rows:
        uid, outcome = row["uid"], Outcome.of_json(json.loads(row["outcome"]))
        arrival = Arrival(**{name: row[name] for name in Arrival.__dataclass_fields__})
        write_outcome(spool.folder, arrival, outcome, retired=True)
        for each in outcome.objects:
            (spool.results_folder(uid) / each.file).unlink(missing_ok=True)
        spool.film_path(uid).unlink(missing_ok=True)
        with spool.rows.change() as line:
            line.execute("UPDATE films SET retired = 1 WHERE uid = ?", (uid,))
    return len(rows)
