"""Triton's statistics API: what each model of a server did between two moments.

Pure functions but for `read`. `compute_*` of `inference_stats` counts a batch's time once for each
request in it; the time that a model was busy is in `batch_stats`, once for each execution.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One model between two moments; times are means over its films.

    Attributes:
        films: how many went through.
        executions: batches that they went in.
        queue_ms: waiting for an instance, or for others to share a batch with.
        input_ms: copying in.
        infer_ms: the work itself, shared among the films of a batch.
        output_ms: copying out.
        latency_ms: from request to answer, all of a batch for each of its films.
    """

    films: int
    executions: int
    queue_ms: float
    input_ms: float
    infer_ms: float
    output_ms: float
    latency_ms: float

    @property
    def batch(self) -> float:
        """Films in one execution, on average."""
        return self.films / self.executions

    @property
    def busy_ms(self) -> float:
        """Time that a film costs the model."""
        return self.input_ms + self.infer_ms + self.output_ms


def read(http_address: str) -> dict[str, Any]:
    """Model → its statistics since the server started."""
    with urllib.request.urlopen(f"http://{http_address}/v2/models/stats", timeout=30) as answer:
        return {model["name"]: model for model in json.load(answer)["model_stats"]}


def between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Stage]:
    """Model → what it did; those that did nothing are left out."""
    stages = {}
    for name, late in after.items():
        early = before.get(name, {})
        films = late["inference_count"] - early.get("inference_count", 0)
        if films <= 0:
            continue
        ms = {
            part: (_batch_ns(late, part) - _batch_ns(early, part)) / films / 1e6
            for part in ("compute_input", "compute_infer", "compute_output")
        }
        stages[name] = Stage(
            films=films,
            # An ensemble executes nothing itself.
            executions=max(1, late["execution_count"] - early.get("execution_count", 0)),
            queue_ms=_request_ms(early, late, "queue"),
            input_ms=ms["compute_input"],
            infer_ms=ms["compute_infer"],
            output_ms=ms["compute_output"],
            latency_ms=_request_ms(early, late, "success"),
        )
    return stages


def _batch_ns(model: dict[str, Any], part: str) -> int:
    return sum(batch.get(part, {}).get("ns", 0) for batch in model.get("batch_stats", []))


def _request_ms(early: dict[str, Any], late: dict[str, Any], part: str) -> float:
    none = {"count": 0, "ns": 0}
    first = early.get("inference_stats", {}).get(part, none)
    last = late["inference_stats"].get(part, none)
    requests = last.get("count", 0) - first.get("count", 0)
    return (last.get("ns", 0) - first.get("ns", 0)) / requests / 1e6 if requests else 0.0
