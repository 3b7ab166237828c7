"""How long files stay: what is ended leaves the disk after a while, and stays known."""

from __future__ import annotations

import json
import time

from cxrclient.node.spool.layout import write_outcome
from cxrclient.node.spool.records import Arrival, Outcome
from cxrclient.node.spool.rows import FILMS_ENDED
from cxrclient.node.spool.spool import Spool


def retire(spool: Spool, keep_s: float) -> int:
    """Remove the files of films that nothing was done with for so long; what became of them stays.

    The last that was done is a delivery or a refusal, which may come long after the analysis: so
    long `retry` can bring results. A failed film is taken anew when it comes again.

    Args:
        spool: in which they are.
        keep_s: how long, in seconds.

    Returns:
        How many.
    """
    rows = spool.rows.all(f"{FILMS_ENDED} LIMIT 1000", time.time() - keep_s)
    for row in rows:
        uid, outcome = row["uid"], Outcome.of_json(json.loads(row["outcome"]))
        arrival = Arrival(**{name: row[name] for name in Arrival.__dataclass_fields__})
        write_outcome(spool.folder, arrival, outcome, retired=True)
        for each in outcome.objects:
            (spool.results_folder(uid) / each.file).unlink(missing_ok=True)
        spool.film_path(uid).unlink(missing_ok=True)
        spool.rows.retire_film(uid)
    return len(rows)
