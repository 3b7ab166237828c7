"""What a served repository computes in, and whether this machine and that repository can."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cxrclient.errors import ServeFailed
from cxrclient.serving.machine import cpu

__all__ = ["Precision", "configuration_name", "require_precision"]

Precision = Literal["f32", "bf16", "int8"]


def configuration_name(device: Literal["cpu", "gpu"], precision: Precision) -> str:
    """Return where a model's configuration lies, relative to the model."""
    if device == "gpu":
        return "config.pbtxt"
    return "configs/cpu.pbtxt" if precision == "f32" else f"configs/cpu-{precision}.pbtxt"


def require_precision(
    wanted: Precision | None, device: Literal["cpu", "gpu"], repository: Path
) -> None:
    """Raise ServeFailed where machine or repository cannot do the precision that was asked for."""
    if wanted is not None and device == "gpu":
        raise ServeFailed(
            f"a GPU computes in its engines' own precision: leave out `--precision {wanted}`, or "
            f"serve with `--device cpu`"
        )
    if wanted in (None, "f32"):
        return
    processor = cpu()
    if wanted == "bf16" and not processor.bf16:
        raise ServeFailed(
            f"this CPU ({processor.name}) has no bf16 instructions (AVX512_BF16 or AMX_BF16): "
            f"serve with `--precision f32` or `int8`"
        )
    # Where one is missing, Triton would quietly take the GPU's configuration in its place.
    models = [path.parents[1] for path in sorted(repository.glob("*/configs/cpu.pbtxt"))]
    lacking = [
        model.name for model in models if not (model / configuration_name("cpu", wanted)).is_file()
    ]
    if lacking and wanted == "int8":
        raise ServeFailed(
            f"{repository} has no int8 graphs: make them with `cxrexport quantise --repository "
            f"{repository} --manifest CSV`, or serve with `--precision f32`"
        )
    if lacking:
        raise ServeFailed(
            f"{repository} has no configuration for {wanted} of {', '.join(lacking)}: build it "
            f"again with `cxrexport build`, or serve with `--precision f32`"
        )
