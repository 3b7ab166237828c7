"""Films of a spool that were finished, and results of training films, for tests of what is told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from cxrclient.node.spool.records import Arrival, Outcome, ResultObject
from cxrclient.node.spool.spool import Spool

MODEL = "a" * 64
OBJECTS = (ResultObject("sr", "1.2.3", "1.2", "1.1", "sr.dcm"),)
_DAY_S = 24 * 3600


def analysed(probability: float, model: str = MODEL, **more: Any) -> Outcome:
    """What becomes of a film that all is well with; `more` are fields of the outcome."""
    record = {
        "probability": probability,
        "label": "COVID-19",
        "members": {"vgg16": probability, "xception": 0.5},
        "model": {"name": "cxr", "digest": model},
        "embedding": [0.0] * 128,
    }
    return Outcome("ok", record=record, objects=OBJECTS, positive=probability > 0.5, **more)


def finish(
    spool: Spool,
    uid: str,
    probability: float = 0.5,
    *,
    days_ago: int = 0,
    code: str | None = None,
    **more: Any,
) -> None:
    """Let a film come and be finished.

    Args:
        spool: which nothing else waits in.
        uid: of the film.
        probability: that it gets.
        days_ago: when it was finished.
        code: why the gate turned it away, where it did.
        more: as of `analysed`.
    """
    spool.take(Arrival(uid, "1.1", "1.1.1", "1.2", "pixels", "MODALITY"), b"film")
    job = spool.claim_film(0)
    assert job is not None
    turned_away = Outcome("rejected", code, "Not analysed.")
    spool.finish(job, turned_away if code else analysed(probability, **more))
    with spool.rows.change() as line:
        at = time.time() - days_ago * _DAY_S
        line.execute("UPDATE films SET finished_at = ? WHERE uid = ?", (at, uid))


def write_reference(path: Path, embeddings: np.ndarray, model: str = MODEL) -> Path:
    """Write results of training films as `cxrclient predict --embeddings -o FILE.jsonl` does."""
    lines: list[dict[str, Any]] = [
        {
            "path": f"{number}.dcm",
            "status": "ok",
            "film_id": f"1.{number}",
            "probability": 0.5,
            "model": {"name": "cxr", "digest": model},
            "embedding": [float(value) for value in embedding],
        }
        for number, embedding in enumerate(embeddings)
    ]
    lines.append({"path": "x.dcm", "status": "rejected", "code": "LATERAL", "message": "No."})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
