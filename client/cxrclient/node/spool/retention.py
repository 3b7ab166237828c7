"""How long files stay: what is ended leaves the disk after a while, and stays known."""

from __future__ import annotations

import json
import time

from cxrclient.node.spool.layout import write_outcome
from cxrclient.node.spool.records import Arrival, Outcome
from cxrclient.node.spool.spool import Spool


def retire(spool: Spool, keep_s: float) -> int:
    """Remove the files of films that ended so long ago; what became of them stays.

    Ended is what is delivered, and what was given up: `retry` has had so long, and a failed film is
    taken anew when it comes again.

    Args:
        spool: in which they are.
        keep_s: how long, in seconds.

    Returns:
        How many.
    """
    rows = spool.rows.all(
        "SELECT * FROM films WHERE retired = 0 AND finished_at < ? AND state != 'waiting' AND NOT "
        "EXISTS (SELECT 1 FROM deliveries WHERE deliveries.uid = films.uid "
        "AND deliveries.state = 'waiting') LIMIT 1000",
        time.time() - keep_s,
    )
    for row in rows:
        uid, outcome = row["uid"], Outcome.of_json(json.loads(row["outcome"]))
        arrival = Arrival(**{name: row[name] for name in Arrival.__dataclass_fields__})
        write_outcome(spool.folder, arrival, outcome, retired=True)
        for each in outcome.objects:
            (spool.results_folder(uid) / each.file).unlink(missing_ok=True)
        spool.film_path(uid).unlink(missing_ok=True)
        spool.rows.retire_film(uid)
    return len(rows)
