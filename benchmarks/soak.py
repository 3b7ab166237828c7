"""Ten minutes at one concurrency: does the server stay as fast as it is, and as small?

    python benchmarks/soak.py [--minutes 10] [--in-flight 4] [--scenario paper-512]

The client's own SDK keeps the films in flight and times each of them.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from material import SCENARIOS, build, payloads
from measuring.chunks import percentile
from measuring.hardware import describe
from measuring.processes import memory_mb
from measuring.record import RESULTS, write_result
from measuring.server import Server
from reports.stages import soak_table
from reports.tables import print_table
from rich.console import Console

from cxrclient import CxrClient, FilmError

MEMORY_EVERY_S = 5.0


def soak(server: Server, minutes: float, inflight: int) -> dict[str, Any]:
    """Keep films in flight for so long; what came of it."""
    memory, done = [], threading.Event()

    def watch() -> None:
        while not done.wait(MEMORY_EVERY_S):
            memory.append(memory_mb(server.pid))

    latencies: list[float] = []
    failures: Counter[str] = Counter()
    with CxrClient(server.address, jobs=inflight) as client:
        for film in payloads():
            client.predict(film)  # what is slow only once is not what is looked for
        memory.append(memory_mb(server.pid))
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        begin = time.monotonic()
        for result in client.predict_many(_until(begin + 60 * minutes)):
            if isinstance(result, FilmError):
                failures[result.code] += 1
            else:
                latencies.append(result.latency_ms)
        wall_s = time.monotonic() - begin
    done.set()
    watcher.join()
    return {**judged(latencies), "wall_s": wall_s, "failures": dict(failures), **_memory(memory)}


def judged(latencies_ms: list[float]) -> dict[str, Any]:
    """Median and tail; p99.9 is the slowest film where there are fewer than a thousand."""
    if not latencies_ms:
        return {"films": 0, "p50_ms": None, "p99_ms": None, "p999_ms": None, "tail": None}
    median = statistics.median(latencies_ms)
    slowest = percentile(latencies_ms, 0.999) or max(latencies_ms)
    return {
        "films": len(latencies_ms),
        "p50_ms": median,
        "p99_ms": percentile(latencies_ms, 0.99),
        "p999_ms": slowest,
        "tail": slowest / median,
    }


def _until(end: float) -> Iterator[bytes]:
    for film in itertools.cycle(payloads()):
        if time.monotonic() > end:
            return
        yield film


def _memory(seen_mb: list[float]) -> dict[str, float]:
    """At the beginning, and the medians of the second and the last fifth: a leak grows on."""
    fifth = max(1, len(seen_mb) // 5)
    return {
        "memory_start_mb": seen_mb[0],
        "memory_early_mb": statistics.median(seen_mb[fifth : 2 * fifth] or seen_mb),
        "memory_late_mb": statistics.median(seen_mb[-fifth:]),
    }


def main(
    minutes: Annotated[float, typer.Option(help="Of each scenario.")] = 10.0,
    inflight: Annotated[int, typer.Option("--in-flight", min=1)] = 4,
    scenario: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCENARIOS)}.")] = None,
    precision: Annotated[str, typer.Option(help="f32, bf16 or int8.")] = "f32",
    output: Annotated[Path, typer.Option(help="Result, JSON.")] = RESULTS / "soak.json",
) -> None:
    """Soak, print, write."""
    result: dict[str, Any] = {"benchmark": "soak", "machine": describe(), "soaks": []}
    for name in scenario or ["paper-512"]:
        entry: dict[str, Any] = {"name": name, "precision": precision, "in_flight": inflight}
        result["soaks"].append(entry)
        try:
            built = build(SCENARIOS[name], precision)
            with Server(built.repository, precision) as server:
                entry |= soak(server, minutes, inflight)
        except Exception as error:
            entry["failed"] = f"{type(error).__name__}: {error}"
        write_result(output, result)
    print_table(Console(width=140), soak_table(result))


if __name__ == "__main__":
    typer.run(main)
