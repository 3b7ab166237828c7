"""What is measured beside each other: loops without a server, the server, the server's client."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from material import Built
from perf_analyzer import PerfAnalyzer

from measuring.chunks import Chunk, enough, percentile
from measuring.processes import measured
from measuring.server import Server
from measuring.statistics_api import Stopwatch

LOOPS = Path(__file__).resolve().parents[1] / "loops.py"
TUNED_MALLOC = {
    # Without these glibc gives each big tensor back to the kernel, and has it zeroed again.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_TOP_PAD_": str(2**30),
}
MALLOC_NAMES = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


class Alternative(Protocol):
    """Anything that predicts so many films when asked."""

    def measure(self, films: int) -> Chunk:
        """Predict so many films and say how it went."""

    def close(self) -> None:
        """End its processes."""


class Loop:
    """`loops.py` in a process of its own; idle between its chunks."""

    def __init__(self, name: str, engine: list[str], built: Built, precision: str = "f32") -> None:
        self.name, self.precision = name, precision
        environment = {k: v for k, v in os.environ.items() if not k.startswith(MALLOC_NAMES)}
        if name == "eager-tuned":
            environment |= TUNED_MALLOC
        command = [sys.executable, str(LOOPS), *engine]
        command += ["--repository", str(built.repository), "--precision", precision]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready_s: float = self._answer()["ready_s"]
        self.probabilities: list[float] = []

    def measure(self, films: int) -> Chunk:
        """Predict films one after the other."""
        with measured(self._process.pid) as usage:
            assert self._process.stdin is not None  # noqa: S101  # it is a pipe
            self._process.stdin.write(f"{films}\n")
            self._process.stdin.flush()
            answer = self._answer()
        latencies = [1e3 * seconds for seconds in answer["latencies_s"]]
        self.probabilities = answer["probabilities"]
        return Chunk(
            alternative=self.name,
            precision=self.precision,
            concurrency=1,
            films=films,
            wall_s=sum(answer["latencies_s"]),
            p50_ms=statistics.median(latencies),
            p95_ms=percentile(latencies, 0.95),
            p99_ms=percentile(latencies, 0.99),
            cpu_s=usage.cpu_s,
            peak_mb=usage.peak_mb,
            graph_ms={name: 1e3 * seconds for name, seconds in answer["graph_s"].items()},
        )

    def close(self) -> None:
        """End the process: it ends with its stdin."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the loop {self.name} ended with {self._process.wait()}")
        return json.loads(line)


class Ensemble:
    """The ensemble under perf_analyzer, so many films in flight."""

    def __init__(self, server: Server, analyzer: PerfAnalyzer, films: Path, inflight: int) -> None:
        self._server, self._analyzer, self._films = server, analyzer, films
        self._concurrency = inflight

    def measure(self, films: int) -> Chunk:
        """Keep the films in flight until `films` are answered."""
        inflight = self._concurrency
        watch = Stopwatch(self._server.http_address, films, inflight)
        with measured(self._server.pid) as usage, watch:
            load = self._analyzer.load(self._server.address, self._films, inflight, films)
        return Chunk(
            alternative="triton",
            precision=self._server.precision,
            concurrency=self._concurrency,
            films=films,
            wall_s=watch.wall_s + load.client_ms / 1e3,
            p50_ms=load.percentiles_ms[50],
            p95_ms=load.percentiles_ms[95] if enough(films, 0.95) else None,
            p99_ms=load.percentiles_ms[99] if enough(films, 0.99) else None,
            cpu_s=usage.cpu_s,
            peak_mb=usage.peak_mb,
        )

    def close(self) -> None:
        """The server is closed by who started it."""


class Predict:
    """`cxrclient predict` on files, as people call it: its own start is part of its time."""

    def __init__(self, server: Server, paths: list[Path], jobs: int) -> None:
        self._server, self._paths, self._jobs = server, paths, jobs

    def measure(self, films: int) -> Chunk:
        """Predict files by name, each as often as need be.

        Raises:
            RuntimeError: a film has no prediction.
        """
        program = str(Path(sys.executable).with_name("cxrclient"))
        named = [str(self._paths[turn % len(self._paths)]) for turn in range(films)]
        command = [program, "predict", *named, "--server", self._server.address]
        command += ["--jobs", str(self._jobs), "--format", "jsonl"]
        begin = time.perf_counter()
        with measured(self._server.pid) as usage:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall_s = time.perf_counter() - begin
        if done.returncode != 0:
            words = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"cxrclient predict ended with {done.returncode}: {words}")
        records = [json.loads(line) for line in done.stdout.splitlines()]
        latencies = [record["latency_ms"] for record in records]
        self.probabilities = [record["probability"] for record in records]
        return Chunk(
            alternative="predict",
            precision=self._server.precision,
            concurrency=self._jobs,
            films=films,
            wall_s=wall_s,
            p50_ms=statistics.median(latencies),
            p95_ms=percentile(latencies, 0.95),
            p99_ms=percentile(latencies, 0.99),
            cpu_s=usage.cpu_s,
            peak_mb=usage.peak_mb,
        )

    def close(self) -> None:
        """The server is closed by who started it."""
