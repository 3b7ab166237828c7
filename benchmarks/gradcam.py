"""What Grad-CAM costs: each backbone with its CAM output and without it, in OpenVINO.

    python benchmarks/gradcam.py [--scenario paper] [--rounds 7] [--json FILE]

Both graphs run in turns on the same film; the cost is the median over the turns of the one's time
over the other's. Without the output OpenVINO leaves out all that only leads to it.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import openvino
import typer
from machine import describe, usable_cores
from material import SCENARIOS, build, image_size_px, served_graph
from record import write_result
from rich.console import Console
from rich.table import Table

from cxrexport.repository import MEMBERS

LARGEST_COST = 0.02
"""The project's own bar."""


def compiled(path: Path, *, cam: bool) -> Any:
    """A request for one film, as the server's backend makes it."""
    core = openvino.Core()
    graph = core.read_model(path)
    shapes = {port.any_name: port.get_partial_shape() for port in graph.inputs}
    graph.reshape({name: [1, *list(shape)[1:]] for name, shape in shapes.items()})
    if not cam:
        kept = [port.node for port in graph.outputs if port.any_name != "CAM"]
        graph = openvino.Model(kept, graph.get_parameters(), "without CAM")
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(usable_cores()),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return core.compile_model(graph, "CPU", properties).create_infer_request()


def measure(path: Path, size_px: int, rounds: int) -> dict[str, Any]:
    """Times of one backbone, in turns; the order changes from turn to turn."""
    requests = {cam: compiled(path, cam=cam) for cam in (True, False)}
    film = np.random.default_rng(0).random((1, 1, size_px, size_px), dtype=np.float32)
    feed = {"CXR": film, "LUNGS": film}
    for request in requests.values():
        request.infer(feed, share_inputs=True)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(rounds):
        for cam in (True, False) if turn % 2 else (False, True):
            begin = time.perf_counter()
            requests[cam].infer(feed, share_inputs=True)
            seconds[cam].append(time.perf_counter() - begin)
    ratios = [a / b for a, b in zip(seconds[True], seconds[False], strict=True)]
    return {
        "with_ms": 1000 * statistics.median(seconds[True]),
        "without_ms": 1000 * statistics.median(seconds[False]),
        "cost": statistics.median(ratios) - 1,
        "costs": [ratio - 1 for ratio in ratios],
    }


def main(
    scenario: Annotated[str, typer.Option(help=f"{', '.join(SCENARIOS)}.")] = "paper",
    rounds: Annotated[int, typer.Option(min=1)] = 7,
    json_file: Annotated[Path | None, typer.Option("--json", help="Result.")] = None,
) -> None:
    """Print one line a backbone."""
    repository = build(SCENARIOS[scenario]).repository
    size_px = image_size_px(repository)
    title = f"{scenario}, {size_px} px, f32: medians of {rounds} turns"
    table = Table("backbone", "with CAM, ms", "without, ms", "cost", f"≤ {LARGEST_COST:.0%}")
    table.title = title
    backbones = {}
    for name in MEMBERS:
        path, _ = served_graph(repository, name, "f32")
        row = backbones[name] = measure(path, size_px, rounds)
        times = (f"{row['with_ms']:.1f}", f"{row['without_ms']:.1f}", f"{row['cost']:+.2%}")
        table.add_row(name, *times, "yes" if row["cost"] <= LARGEST_COST else "NO")
    Console(width=90).print(table)
    if json_file is not None:
        facts = {"benchmark": "gradcam", "scenario": scenario, "machine": describe()}
        write_result(json_file, {**facts, "backbones": backbones})


if __name__ == "__main__":
    typer.run(main)
