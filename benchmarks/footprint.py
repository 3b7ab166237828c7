"""What a server on the CPU weighs, and how long it takes to be ready.

    python benchmarks/footprint.py [--scenario paper] [--precision f32] [--json FILE]

Memory is the proportional set size, summed over Triton and its model processes: what several of
them share counts once. The peak is the largest sum seen while films go through.
"""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import tritonclient.grpc as triton
import typer
from machine import describe
from material import SCENARIOS, build, payloads, quantise
from processes import children_of_this_process, measured, memory_mb, tree
from record import write_result
from rich.console import Console
from rich.table import Table

from cxrclient.serving import EmbeddedServer
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.repository import PREPROCESS

GRAPHS = graphs_of(DEFAULT_MEMBERS)

MOST_MB, MOST_S = 3000, 30
"""The project's own bars, for `paper`."""


def by_model(pid: int) -> dict[str, float]:
    """Memory of the tree, MB, by the model that a process runs; Triton's own is `triton`."""
    sums: dict[str, float] = defaultdict(float)
    for process in tree(pid):
        try:
            words = process.cmdline()
            # A model process's command names the model's files.
            parts = [part for word in words[1:2] for part in Path(word).parts]
            name = next((part for part in parts if part in (*GRAPHS, PREPROCESS)), "triton")
            sums[name] += process.memory_full_info().pss / 1e6
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return dict(sums)


def send(address: str, films: list[bytes], concurrency: int) -> None:
    """Send films, so many at once."""
    client = triton.InferenceServerClient(address)

    def ask(film: bytes) -> None:
        image = triton.InferInput("IMAGE", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[film]], dtype=np.object_))
        client.infer("cxr", [image])

    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(ask, films))
    client.close()


def measure(scenario: str, precision: Any, concurrency: int, films: int) -> dict[str, Any]:
    """Start a server, send films, and weigh it before, meanwhile and after."""
    built = build(SCENARIOS[scenario])
    if precision == "int8":
        quantise(built)
    before = children_of_this_process()
    begin = time.perf_counter()
    with EmbeddedServer(built.repository, device="cpu", precision=precision) as server:
        ready_s = time.perf_counter() - begin
        (pid,) = children_of_this_process() - before
        ready_mb = memory_mb(pid)
        some = payloads()
        with measured(pid) as usage:
            send(server.grpc_address, [some[n % len(some)] for n in range(films)], concurrency)
        after = by_model(pid)
    return {
        "scenario": scenario,
        "precision": precision,
        "ready_s": ready_s,
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
    names = (f"{row['scenario']}, {row['concurrency']} in flight" for row in rows)
    table = Table("", *names, title=f"{precision}, on the CPU")
    table.add_row(f"start to ready, s (paper: ≤ {MOST_S})", *(f"{r['ready_s']:.1f}" for r in rows))
    table.add_row("ready, MB", *(f"{row['ready_mb']:.0f}" for row in rows))
    table.add_row("films", *(str(row["films"]) for row in rows))
    table.add_row(f"peak, MB (paper: ≤ {MOST_MB})", *(f"{row['peak_mb']:.0f}" for row in rows))
    table.add_section()
    for name in ("triton", PREPROCESS, *GRAPHS):
        table.add_row(f"  {name}, after", *(f"{r['by_model_mb'].get(name, 0):.0f}" for r in rows))
    Console(width=110).print(table)
    if json_file is not None:
        write_result(json_file, {"benchmark": "footprint", "machine": describe(), "rows": rows})


if __name__ == "__main__":
    typer.run(main)
