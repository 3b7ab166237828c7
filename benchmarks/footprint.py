"""What a server on the CPU weighs, and how long it takes to be ready.

    python benchmarks/footprint.py [--scenario paper] [--precision f32] [--json FILE]

Memory is the proportional set size, summed over Triton and its model processes: what several of
them share counts once. The peak is the largest sum seen while films go through.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from material import SCENARIOS, build, payloads
from measuring.hardware import describe
from measuring.processes import measured, memory_mb, tree
from measuring.record import write_result
from measuring.server import Server, predict_all
from reports.stages import footprint_table
from reports.tables import print_table
from rich.console import Console

from cxrclient import CxrClient
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.repository import ADMISSION, PREPROCESS

GRAPHS = graphs_of(DEFAULT_MEMBERS)


def by_model(pid: int) -> dict[str, float]:
    """Memory of the tree, MB, by the model that a process runs; Triton's own is `triton`."""
    sums: dict[str, float] = defaultdict(float)
    for process in tree(pid):
        try:
            words = process.cmdline()
            # A model process's command names the model's files.
            parts = [part for word in words[1:2] for part in Path(word).parts]
            name = next(
                (part for part in parts if part in (*GRAPHS, PREPROCESS, ADMISSION)), "triton"
            )
            sums[name] += process.memory_full_info().pss / 1e6
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return dict(sums)


def measure(scenario: str, precision: Any, concurrency: int, films: int) -> dict[str, Any]:
    """Start a server, send films, and weigh it before, meanwhile and after."""
    built = build(SCENARIOS[scenario], precision)
    with Server(built.repository, precision) as server:
        ready_mb = memory_mb(server.pid)
        some = payloads()
        sent = [some[n % len(some)] for n in range(films)]
        with CxrClient(server.address, jobs=concurrency) as client, measured(server.pid) as usage:
            predict_all(client, sent)
        after = by_model(server.pid)
    return {
        "scenario": scenario,
        "precision": precision,
        "ready_s": server.ready_s,
        "ready_mb": ready_mb,
        "films": films,
        "concurrency": concurrency,
        "peak_mb": usage.peak_mb,
        "after_mb": sum(after.values()),
        "by_model_mb": after,
    }


def main(
    scenario: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCENARIOS)}.")] = None,
    precision: Annotated[str, typer.Option(help="f32, bf16 or int8.")] = "f32",
    in_flight: Annotated[list[int] | None, typer.Option(min=1, help="Films; 4 and 16.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Result.")] = None,
) -> None:
    """Print what every model process weighs."""
    rows = [
        measure(name, precision, concurrency, films=max(8, concurrency))
        for name in scenario or ["starter", "paper"]
        for concurrency in in_flight or [4, 16]
    ]
    result = {"benchmark": "footprint", "machine": describe(), "rows": rows}
    print_table(Console(width=140), footprint_table(result))
    if json_file is not None:
        write_result(json_file, result)


if __name__ == "__main__":
    typer.run(main)
