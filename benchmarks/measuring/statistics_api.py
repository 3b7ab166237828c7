"""Triton's statistics API: what each model of a server did between two moments.

`compute_*` of `inference_stats` counts a batch's time once for each request in it; the time that a
model was busy is in `batch_stats`, once for each execution.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.request
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

LOOK_EVERY_S = 0.1
LOOK_SELDOM_S = 0.25
LAST_LOOKS = 20
"""After the block at most: Triton answers first and counts then."""


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


class Stopwatch:
    """Times a number of films through the ensemble `cxr` by watching the server's own count.

    Exact to a look (100 ms, both ends late by as much on average), whatever the client's clock is.

    Args:
        http_address: of a server that nobody else uses meanwhile.
        films: how many will go through.
        inflight: of them at once at most.
    """

    def __init__(self, http_address: str, films: int, inflight: int) -> None:
        self._connection = http.client.HTTPConnection(http_address, timeout=30)
        self._films, self._inflight = films, inflight
        self._before = self._look()
        self._began: float | None = None
        self._ended: float | None = None
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._watcher.join()
        self._connection.close()

    @property
    def wall_s(self) -> float:
        """From the first film's arrival at the server to the last one's answer.

        Raises:
            RuntimeError: not all films were answered.
        """
        if self._began is None or self._ended is None:
            raise RuntimeError(f"the server did not answer {self._films} films")
        return self._ended - self._began

    def _watch(self) -> None:
        looks_left = LAST_LOOKS
        while self._ended is None and looks_left:
            looks_left -= self._done.is_set()
            count, total_s = self._look()
            now, answered = time.perf_counter(), count - self._before[0]
            if answered and self._began is None:
                # The first answers: they all arrived when the load began.
                self._began = now - (total_s - self._before[1]) / answered
            if answered >= self._films:
                self._ended = now
            midst = 0 < answered < self._films - self._inflight
            pause_s = LOOK_SELDOM_S if midst else LOOK_EVERY_S
            if self._done.wait(pause_s) and self._ended is None:
                time.sleep(pause_s)

    def _look(self) -> tuple[int, float]:
        """Films answered since the server started, and the sum of their times."""
        self._connection.request("GET", "/v2/models/cxr/stats")
        (model,) = json.load(self._connection.getresponse())["model_stats"]
        success = model["inference_stats"]["success"]
        return success.get("count", 0), success.get("ns", 0) / 1e9
