"""The ensemble on a GPU without a server: what each way to run it reaches of the silicon.

    python benchmarks/gpu.py [--plans model_repository] [--batches 1,2,4,8,16,32,64]
    python benchmarks/gpu.py --device cpu --size 64 --width 0.25 --batches 1,2      a smoke run

Needs torch and MONAI only (`pip install --no-deps monai`, PYTHONPATH=export in a checkout); with
--plans also TensorRT. Exit code 4 where there is no GPU.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring.hardware import describe
from measuring.record import RESULTS, write_result
from reports.gpu import gpu_tables
from reports.tables import to_markdown

NO_GPU = 4
PLANS = "TensorRT plans"
MATRIX = {"cuda": 8192, "cpu": 512}
"""Side of the matrices whose product gives the peak."""


def matrix_peaks(device: Any, seconds: float) -> dict[str, float]:
    """Precision → TMAC/s of the fastest large product: a matrix product or a convolution."""
    import torch
    from measuring.gpu_networks import allow_tf32

    side = MATRIX[device.type]
    found = {}
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if device.type == "cuda":
        kinds |= {"tf32": torch.float32, "fp16": torch.float16}
    for name, kind in kinds.items():
        allow_tf32(name == "tf32")
        left, right = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
        products = [(side**3, lambda a=left, b=right: a @ b)]
        channels, size_px = side // 16, side // 128
        maps = torch.randn(32, channels, size_px, size_px, device=device, dtype=kind)
        weights = torch.randn(channels, channels, 3, 3, device=device, dtype=kind)
        maps = maps.contiguous(memory_format=torch.channels_last)
        weights = weights.contiguous(memory_format=torch.channels_last)
        convolved = 32 * channels**2 * 9 * size_px**2
        products.append(
            (
                convolved,
                lambda m=maps, w=weights: torch.nn.functional.conv2d(m, w, padding=1),
            )
        )
        found[name] = max(mac / min(times(call, device, seconds)) / 1e12 for mac, call in products)
    return found


def times(call: Callable[[], object], device: Any, seconds: float) -> list[float]:
    """Seconds of each call, for about so long, after those that set things up.

    On a GPU by events on its stream, so that launching is hidden where the work hides it.
    """
    import torch

    if device.type == "cpu":
        clocked = []
        call()
        end = time.perf_counter() + seconds
        while not clocked or time.perf_counter() < end:
            begin = time.perf_counter()
            call()
            clocked.append(time.perf_counter() - begin)
        return clocked
    for _ in range(3):
        call()
    clocked = []
    torch.cuda.synchronize(device)
    end = time.perf_counter() + seconds
    while len(clocked) < 3 or time.perf_counter() < end:
        begin, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        done.record()
        torch.cuda.synchronize(device)
        clocked.append(begin.elapsed_time(done) / 1e3)
    return clocked


def measure(options: argparse.Namespace, device: Any) -> dict[str, Any]:
    """Every way at every batch; what fails says why, and the others go on."""
    import torch
    from measuring.gpu_networks import (
        Mode,
        allow_tf32,
        film_gmac,
        likeness,
        modes,
        plans_forward,
        plans_precision,
        random_ensemble,
    )

    torch.backends.cudnn.benchmark = True  # shapes are fixed: the algorithm that measures best
    ensemble = random_ensemble(options.width).to(device)
    result: dict[str, Any] = {
        "benchmark": "gpu",
        "machine": {**describe(), **_device_facts(device)},
        "size_px": options.size,
        "width": options.width,
        "peaks_tmac_s": matrix_peaks(device, options.seconds),
        "gmac": film_gmac(ensemble, options.size, device),
        "rows": [],
    }
    ways = modes()
    if options.plans is not None:
        plans = options.plans
        kind = plans_precision(plans)
        ways.append(Mode(f"{PLANS}, {kind}", kind, lambda *_: plans_forward(plans), needs_gpu=True))
    size = (options.size, options.size)
    known = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)).to(device)
    allow_tf32(False)
    with torch.inference_mode():
        expected = tuple(output.clone() for output in ensemble(known))
    for mode in ways:
        if mode.needs_gpu and device.type == "cpu":
            result["rows"].append({"mode": mode.name, "failed": "needs a GPU"})
            continue
        for batch in options.batches:
            if mode.name.endswith("compile") and batch not in options.compile_batches:
                continue
            row: dict[str, Any] = {"mode": mode.name, "precision": mode.precision, "batch": batch}
            result["rows"].append(row)
            try:
                made = mode.make(copy.deepcopy(ensemble), known.expand(batch, -1, -1, -1))
                row |= _timed(made, torch.rand(batch, 1, *size, device=device), options.seconds)
                if not mode.name.startswith(PLANS):  # those have weights of their own
                    with torch.inference_mode():
                        row |= likeness(made(known.expand(batch, -1, -1, -1)), expected)
            except Exception as error:
                words = (str(error).splitlines() or ["no message"])[0]
                row["failed"] = f"{type(error).__name__}: {words[:200]}"
            if "failed" not in row:
                row |= _reached(row, result)
            print(_line(row), file=sys.stderr, flush=True)
            write_result(options.output, result)
            made = None
            if device.type == "cuda":
                torch.cuda.empty_cache()
    return result


def _reached(row: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    films_s = row["batch"] / row["median_s"]
    rate, peak = films_s * result["gmac"] / 1e3, result["peaks_tmac_s"].get(row["precision"])
    return {"films_s": films_s, "tmac_s": rate, "share_of_peak": rate / peak if peak else None}


def _timed(run: Any, films: Any, seconds: float) -> dict[str, Any]:
    import torch

    device = films.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with torch.inference_mode():
        begin = time.perf_counter()
        answer = run(films)[0].float().cpu()
        ready_s = time.perf_counter() - begin
        clocked = times(lambda: run(films), device, seconds)
    used = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None
    facts = {"ready_s": ready_s, "finite": bool(torch.isfinite(answer).all())}
    return {
        **facts,
        "median_s": statistics.median(clocked),
        "repeats": len(clocked),
        "peak_mb": used,
    }


def _line(row: dict[str, Any]) -> str:
    words = f"{row['mode']}, batch {row['batch']}: "
    return words + (row.get("failed") or f"{row['films_s']:.4g} films/s")


def _device_facts(device: Any) -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {"device": device.type, "cuda": torch.version.cuda}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["device"] = properties.name
        facts["multiprocessors"] = properties.multi_processor_count
        facts["capability"] = f"{properties.major}.{properties.minor}"
        facts["cudnn"] = torch.backends.cudnn.version()
    return facts


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def parser() -> argparse.ArgumentParser:
    """The command line; argparse, because a GPU machine may have nothing but torch."""
    made = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    made.add_argument("--size", type=int, default=1024, help="pixels a side")
    made.add_argument("--width", type=float, default=1.0, help="factor on every channel")
    made.add_argument("--batches", type=_numbers, default=[1, 2, 4, 8, 16, 32, 64])
    made.add_argument("--compile-batches", type=_numbers, default=[1, 16], help="compiling is slow")
    made.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    made.add_argument("--plans", type=Path, help="a repository with TensorRT plans")
    made.add_argument("--output", type=Path, default=RESULTS / "gpu.json")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; returns the exit code."""
    options = parser().parse_args(arguments)
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            "No GPU that PyTorch can use: run this on a GPU machine with a CUDA build of torch, "
            "or with --device cpu as a smoke run.",
            file=sys.stderr,
        )
        return NO_GPU
    result = measure(options, torch.device(options.device))
    write_result(options.output, result)
    for table in gpu_tables(result):
        print(to_markdown(table), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
