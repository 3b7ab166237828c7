"""The machine that a benchmark runs on: what it is, and what its silicon can do.

    python benchmarks/machine.py [--repository DIR] [--seconds 0.6]

The convolution peak is the limit that everything else is held against: the most GMAC/s that chains
of 3×3 and 1×1 convolutions of good shapes reach in OpenVINO, in each precision that the processor
has instructions for.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from measuring.gmac import repository_gmac
from measuring.hardware import ROOT, cpu_flags, describe, instructions, usable_cores
from measuring.record import RESULTS, write_result
from reports.tables import machine_table, print_table
from rich.console import Console

PRECISIONS = ("f32", "bf16", "int8")
# Kernel, channels, pixels a side, convolutions: shapes of the networks' own layers at 512 and 1024.
SHAPES = (
    *((3, 64, 128, 8), (3, 128, 64, 8), (3, 256, 32, 8), (3, 512, 32, 4)),
    *((1, 256, 64, 16), (1, 512, 56, 16), (1, 1024, 32, 16)),
)


def measure_peaks(seconds: float = 0.6) -> dict[str, dict[str, Any]]:
    """Precision → its convolution peak, or why there is none.

    Args:
        seconds: of each shape in each precision.

    Returns:
        `gmac_s` (None without instructions for it), `instructions`, `reason`, `shape`, `kernel`.
    """
    import openvino

    core = openvino.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    peaks: dict[str, dict[str, Any]] = {}
    for precision in PRECISIONS:
        peaks[precision] = {"gmac_s": None, "instructions": instructions(precision, cpu_flags())}
        if precision == "bf16" and "BF16" not in able:
            peaks[precision]["reason"] = "no AVX512-BF16 or AMX: OpenVINO would compute in f32"
            continue
        if precision == "int8" and "INT8" not in able:
            peaks[precision]["reason"] = "OpenVINO has no int8 kernels for this processor"
            continue
        reached = [_convolve(core, precision, shape, seconds) for shape in SHAPES]
        gmac_s, kernel, shape = max(reached)
        peaks[precision] |= {"gmac_s": gmac_s, "reason": None, "shape": shape, "kernel": kernel}
    return peaks


def has_own_instructions(precision: str, peak: dict[str, Any]) -> bool:
    """Whether the bars for the share of the peak apply: int8 without VNNI or AMX is a makeshift."""
    words = peak["instructions"]
    return peak["gmac_s"] is not None and words is not None and "without" not in words


def _convolve(
    core: Any, precision: str, shape: tuple[int, int, int, int], seconds: float
) -> tuple[float, str, str]:
    """GMAC/s of the fastest pass through a chain of equal convolutions, its kernel, its shape."""
    import numpy as np

    kernel, channels, size_px, depth = shape
    properties = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(usable_cores()),
    }
    compiled = core.compile_model(_chain(shape, precision == "int8"), "CPU", properties)
    request = compiled.create_infer_request()
    film = np.random.default_rng(1).random((1, channels, size_px, size_px), dtype=np.float32)
    gmac = depth * channels**2 * kernel**2 * size_px**2 / 1e9
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        request.infer([film], share_inputs=True)
        fastest = min(fastest, time.perf_counter() - begin)
    words = f"{kernel}x{kernel}, {channels} channels, {size_px}x{size_px}"
    return gmac / fastest, _kernel(compiled), words


def _chain(shape: tuple[int, int, int, int], quantised: bool) -> Any:
    """Equal convolutions, each with its ReLU; quantised as NNCF does it, by FakeQuantize."""
    import numpy as np
    import openvino
    from openvino import opset13 as ops

    kernel, channels, size_px, depth = shape
    random = np.random.default_rng(0)

    def scalar(value: float) -> Any:
        return ops.constant(np.full((1, 1, 1, 1), value, np.float32))

    film = ops.parameter([1, channels, size_px, size_px], np.float32, name="film")
    maps = film
    for _ in range(depth):
        drawn = random.standard_normal((channels, channels, kernel, kernel))
        values = (drawn / np.sqrt(channels * kernel**2)).astype(np.float32)
        weights = ops.constant(values)
        if quantised:
            maps = ops.fake_quantize(maps, *[scalar(v) for v in (0, 2.55, 0, 2.55)], 256)
            most = float(np.abs(values).max())
            weights = ops.fake_quantize(
                weights, *[scalar(v) for v in (-most, most, -most, most)], 255
            )
        pad = [kernel // 2] * 2
        maps = ops.relu(ops.convolution(maps, weights, [1, 1], pad, pad, [1, 1]))
    return openvino.Model([maps], [film], "chain")


def _kernel(compiled: Any) -> str:
    """The kernel that OpenVINO chose for the convolutions: proof of the precision."""
    for operation in compiled.get_runtime_model().get_ops():
        info = operation.get_rt_info()
        if str(info["layerType"].value) == "Convolution":
            return str(info["primitiveType"].value)
    return "unknown"


def main(
    repository: Annotated[Path, typer.Option(help="Whose graphs are counted.")] = ROOT
    / "model_repository",
    seconds: Annotated[float, typer.Option(help="For each shape and precision.")] = 0.6,
    output: Annotated[Path, typer.Option(help="Result, JSON.")] = RESULTS / "machine.json",
) -> None:
    """Print the machine, its peaks and the graphs' GMAC; write them as JSON."""
    result = {"benchmark": "machine", "machine": describe(), "peaks": measure_peaks(seconds)}
    gmac = repository_gmac(repository)
    write_result(output, {**result, "gmac": gmac})
    print_table(Console(width=140), machine_table(result))
    for graph, amount in [*gmac.items(), ("sum", sum(gmac.values()))]:
        print(f"{graph:10} {amount:8.3f} GMAC a film")


if __name__ == "__main__":
    typer.run(main)
