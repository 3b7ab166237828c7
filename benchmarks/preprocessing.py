"""Preprocessing: how long a film takes, by stage and by compression.

    python benchmarks/preprocessing.py [--rounds 12] [--json FILE]

The films are a real one (1955x1841, of the package pydicom-data) and a drawn one (3000x3000),
uncompressed, at the `paper` profile's 1024 px. They run in turns in one process, on one thread and
on all cores. Growth with the film's size is in stages.py; plain numpy and MONAI beside it are in
docs/adr/0011.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from inputs.films import compressed, drawn_film, real_film
from measuring.hardware import describe, usable_cores
from measuring.preprocessing_stages import by_stage
from measuring.record import write_result
from reports.preprocessing import DRAWN, REAL, preprocessing_tables, stages_table
from reports.tables import machine_table, print_table
from rich.console import Console

from cxrexport.preprocessing import PreprocessingSpec, preprocess

SPEC = PreprocessingSpec()
EACH_ROUND = 5
"""Runs of a film in a round."""

Sample = tuple[float, float]
"""Wall and processor time of one run in seconds."""


def timed(encoded: bytes) -> Sample:
    """Time one run."""
    cpu, wall = time.process_time(), time.perf_counter()
    preprocess(encoded, SPEC)
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(films: dict[str, bytes], rounds: int) -> list[dict[str, Any]]:
    """Time every film on one thread and on all cores, round by round."""
    samples: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for _ in range(rounds):
        for threads in sorted({1, usable_cores()}):
            cv2.setNumThreads(threads)
            for film, encoded in films.items():
                samples[film, threads] += [timed(encoded) for _ in range(EACH_ROUND)]
    return [
        {"film": film, "threads": threads, **summary(taken)}
        for (film, threads), taken in samples.items()
    ]


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Median, 95th percentile and shortest wall time, and median processor time."""
    wall, cpu = np.array(samples).T * 1e3
    return {
        "runs": len(samples),
        "median_ms": float(np.median(wall)),
        "p95_ms": float(np.percentile(wall, 95)),
        "shortest_ms": float(wall.min()),
        "cpu_ms": float(np.median(cpu)),
    }


def timed_alone(encoded: bytes, runs: int) -> dict[str, Any]:
    """Time one film after the other, with OpenCV's own threads."""
    preprocess(encoded, SPEC)
    return summary([timed(encoded) for _ in range(runs)])


def measure(rounds: int, console: Console) -> dict[str, Any]:
    """Measure all of it."""
    real = real_film().read_bytes()
    films = {REAL: real, DRAWN: drawn_film(3000)}
    result: dict[str, Any] = {"benchmark": "preprocessing", "machine": describe()}
    console.print("[dim]in turns …")
    result["films"] = in_turns(films, rounds)
    cv2.setNumThreads(usable_cores())
    console.print("[dim]by stage, compressed …")
    result["stages"] = {name: by_stage(film, SPEC, 4 * rounds) for name, film in films.items()}
    others = {
        "uncompressed": real,
        **compressed(real),
        "JPEG 2000 lossy": real_film("RG1_J2KI.dcm").read_bytes(),
    }
    result["compressed"] = [
        {"name": name, "bytes": len(film), **timed_alone(film, rounds)}
        for name, film in others.items()
    ]
    return result


def main(
    rounds: Annotated[int, typer.Option(help="Turns; more are steadier.", min=2)] = 12,
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
) -> None:
    """Measure the preprocessing and print tables."""
    console = Console(width=140)
    result = measure(rounds, Console(stderr=True))
    for table in [machine_table(result), *preprocessing_tables(result), stages_table(result)]:
        print_table(console, table)
    if json is not None:
        write_result(json, result)


if __name__ == "__main__":
    typer.run(main)
