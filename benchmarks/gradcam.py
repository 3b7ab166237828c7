"""What Grad-CAM costs: each backbone with its CAM output and without it, in OpenVINO.

    python benchmarks/gradcam.py [--scenario paper] [--rounds 7] [--json FILE]

Without the output OpenVINO leaves out all that only leads to it. So the cost is the time of the
operations that only the whole graph has, less those that only the other one has, as OpenVINO's own
profile of the same inferences says. On a machine with noise of a few percent that is the only way
to see a thousandth; the two graphs' whole times, in turns, stand beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
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
        "PERF_COUNT": "YES",
    }
    return core.compile_model(graph, "CPU", properties).create_infer_request()


def operations(request: Any) -> dict[str, float]:
    """Operation → ms that it took in the last inference."""
    profile = request.profiling_info
    return {one.node_name: 1000 * one.real_time.total_seconds() for one in profile}


def only_in(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Time of the operations that the other graph does not have."""
    return sum(ms for name, ms in one.items() if name not in other)


def measure(path: Path, size_px: int, rounds: int) -> dict[str, Any]:
    """Times of one backbone, in turns; the order changes from turn to turn."""
    requests = {cam: compiled(path, cam=cam) for cam in (True, False)}
    film = np.random.default_rng(0).random((1, 1, size_px, size_px), dtype=np.float32)
    feed = {"CXR": film, "LUNGS": film}
    for request in requests.values():
        request.infer(feed, share_inputs=True)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    more_ms, costs = [], []
    for turn in range(rounds):
        for cam in (True, False) if turn % 2 else (False, True):
            begin = time.perf_counter()
            requests[cam].infer(feed, share_inputs=True)
            seconds[cam].append(time.perf_counter() - begin)
        whole, without = operations(requests[True]), operations(requests[False])
        more_ms.append(only_in(whole, without) - only_in(without, whole))
        costs.append(more_ms[-1] / (sum(whole.values()) - more_ms[-1]))
    ratios = [a / b for a, b in zip(seconds[True], seconds[False], strict=True)]
    return {
        "with_ms": 1000 * statistics.median(seconds[True]),
        "without_ms": 1000 * statistics.median(seconds[False]),
        "operations_ms": statistics.median(more_ms),
        "cost": statistics.median(costs),
        "whole_times": [ratio - 1 for ratio in ratios],
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
    columns = ("with CAM, ms", "without, ms", "its operations, ms", "cost")
    table = Table("backbone", *columns, f"≤ {LARGEST_COST:.0%}")
    table.title = title
    backbones = {}
    for name in MEMBERS:
        path, _ = served_graph(repository, name, "f32")
        row = backbones[name] = measure(path, size_px, rounds)
        whole = (f"{row['with_ms']:.1f}", f"{row['without_ms']:.1f}")
        times = (*whole, f"{row['operations_ms']:.2f}", f"{row['cost']:+.2%}")
        table.add_row(name, *times, "yes" if row["cost"] <= LARGEST_COST else "NO")
    Console(width=90).print(table)
    if json_file is not None:
        facts = {"benchmark": "gradcam", "scenario": scenario, "machine": describe()}
        write_result(json_file, {**facts, "backbones": backbones})


if __name__ == "__main__":
    typer.run(main)
