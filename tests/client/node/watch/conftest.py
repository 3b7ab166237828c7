"""A spool with films that were finished on given days."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrclient.node.spool.records import Arrival, Outcome, ResultObject
from cxrclient.node.spool.spool import Spool

TARGETS = ("PACS", "archive")
MODEL = "a" * 64
DAY_S = 24 * 3600
OBJECTS = (ResultObject("sr", "1.2.3", "1.2", "1.1", "sr.dcm"),)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool", TARGETS, min_free_bytes=0) as opened:
        yield opened


@pytest.fixture
def finish(spool: Spool) -> Callable[..., None]:
    """Lets a film be finished: `finish("1.2", probability, days_ago=1, distance=0.1, …)`."""

    def finished(
        uid: str,
        probability: float | None = None,
        *,
        days_ago: int = 0,
        code: str | None = None,
        model: str = MODEL,
        **more: Any,
    ) -> None:
        spool.take(Arrival(uid, "1.1", "1.1.1", "1.2", "pixels", "MODALITY"), b"film")
        job = spool.claim_film(0)
        assert job is not None
        record = {"probability": probability, "model": {"name": "cxr", "digest": model}}
        ok = Outcome(
            "ok",
            record=record | {"embedding": [0.0]},
            objects=OBJECTS,
            positive=(probability or 0) > 0.5,
            **more,
        )
        spool.finish(job, ok if code is None else Outcome("rejected", code, "Not analysed."))
        with spool.rows.change() as line:
            line.execute(
                "UPDATE films SET finished_at = ? WHERE uid = ?",
                (time.time() - days_ago * DAY_S, uid),
            )

    return finished


@pytest.fixture
def reference(tmp_path: Path) -> Callable[..., Path]:
    """Writes results of training films, as `predict --embeddings -o FILE.jsonl` does."""

    def written(embeddings: np.ndarray, model: str = MODEL) -> Path:
        path = tmp_path / "train.jsonl"
        lines = [
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
        turned_away = {"path": "x.dcm", "status": "rejected", "code": "LATERAL", "message": "…"}
        path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, turned_away]))
        return path

    return written
