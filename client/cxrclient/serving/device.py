"""On which device a repository is served and in which precision, and whether it can be."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from cxrclient.errors import ServeFailed
from cxrclient.serving.machine import cpu, driver_lack, gpus, has_nvidia_gpu, tensorrt_versions
from cxrclient.serving.plans import engines_command, unverified_plans
from cxrclient.serving.record import has_record
from cxrclient.serving.repository import Fault, RepositoryPart, repository_faults
from cxrclient.serving.shipped import shipped_repositories
from cxrclient.serving.tritonserver import Installation

_logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "gpu"]
CpuPrecision = Literal["f32", "bf16", "int8"]
"""What a CPU computes in; a GPU's precision is in its plans."""


def fit_device(
    repository: Path, installation: Installation, wanted: Device, precision: CpuPrecision | None
) -> Literal["cpu", "gpu"]:
    """Choose the device that serves a repository, and make sure that it can.

    Args:
        repository: the model repository.
        installation: of the server.
        wanted: as for `choose_device`.
        precision: that a CPU shall compute in; None for f32.

    Raises:
        ServeFailed: it cannot; the message names the cause and the mend.
    """
    device = choose_device(wanted, installation, repository)
    require_precision(precision, device, repository)
    require_whole(repository, configuration_name(device, precision or "f32"))
    return device


def choose_device(
    wanted: Device, installation: Installation, repository: Path
) -> Literal["cpu", "gpu"]:
    """Take the GPU where GPU, TensorRT backend and fitting plans are all there.

    `gpu` insists on them. `auto` takes the CPU where something lacks, and says so on a machine that
    could do better: one with a GPU and a server that can use it.

    Args:
        wanted: by whoever serves.
        installation: of the server.
        repository: that it will serve.

    Raises:
        ServeFailed: `gpu` is wanted, and something lacks.
    """
    if wanted == "cpu":
        return "cpu"
    lack = _gpu_lack(installation, repository)
    if lack is None:
        for graph, why in unverified_plans(repository).items():
            _logger.warning("%s/1/model.plan is unverified: %s", graph, why)
        return "gpu"
    if wanted == "gpu":
        raise ServeFailed(f"{lack}, or serve with `--device cpu`")
    if has_nvidia_gpu() and installation.has_backend("tensorrt"):
        _logger.warning("serving on the CPU: %s", lack)
    return "cpu"


def _gpu_lack(installation: Installation, repository: Path) -> str | None:
    """Say what is missing to serve on a GPU, and how to mend it; None where nothing is."""
    if not has_nvidia_gpu():
        return "this machine has no NVIDIA GPU that its driver knows: install the driver"
    if not installation.has_backend("tensorrt"):
        return (
            f"the Triton server {installation.binary} has no TensorRT backend: run this in "
            f"NVIDIA's Triton container"
        )
    here = gpus()
    if (lack := driver_lack(here)) is not None:
        return lack
    command = engines_command(repository)
    if missing := repository_faults(repository, {"files"}):
        return f"{repository} lacks {_named(missing)}: build them here with `{command}`"
    versions = tensorrt_versions()
    version = versions[0] if len(versions) == 1 else None
    faults = repository_faults(repository, {"plans"}, gpus=here, tensorrt_version=version)
    if faults:
        more = f", and {len(faults) - 1} more; `cxrclient doctor` lists them" if faults[1:] else ""
        return f"{faults[0]}{more}: build again with `{command}`"
    return None


def configuration_name(device: Literal["cpu", "gpu"], precision: CpuPrecision) -> str:
    """Return where a model's configuration lies, relative to the model."""
    if device == "gpu":
        return "config.pbtxt"
    return "configs/cpu.pbtxt" if precision == "f32" else f"configs/cpu-{precision}.pbtxt"


def require_precision(
    wanted: CpuPrecision | None, device: Literal["cpu", "gpu"], repository: Path
) -> None:
    """Make sure that machine and repository can compute in the precision that was asked for.

    Args:
        wanted: None leaves it to the device.
        device: that computes.
        repository: that is served.

    Raises:
        ServeFailed: they cannot.
    """
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


def require_whole(repository: Path, configuration: str) -> None:
    """Make sure that the repository has every file that its configurations name.

    Its graphs, configurations and steps must be those that repository.json records, where it has
    one: what is served has the digest that its clients keep beside each result.

    Args:
        repository: the model repository.
        configuration: which of each model's; see `configuration_name`.

    Raises:
        ServeFailed: it lacks a file, or one is not as it was built.
    """
    if not (repository / "cxr" / "config.pbtxt").is_file():
        raise ServeFailed(
            f"{repository} is no model repository with the ensemble cxr; pass "
            f"`--model-repository DIR`, a name that comes with cxr-triton "
            f"({', '.join(shipped_repositories())}), or build one with `cxrexport build`"
        )
    if missing := repository_faults(repository, {"files"}, configuration=configuration):
        raise ServeFailed(
            f"{repository} lacks {_named(missing)}: build it again with `cxrexport build`, or "
            f"install cxr-triton again"
        )
    if not has_record(repository):
        _logger.warning(
            "%s has no repository.json: nothing tells whether its graphs, configurations and steps "
            "are as they were built",
            repository,
        )
        return
    parts: set[RepositoryPart] = {"graphs", "record", "reference"}
    altered = repository_faults(repository, parts | {"int8"} if "int8" in configuration else parts)
    if altered:
        raise ServeFailed(
            f"{repository}: {altered[0]}. Build it again with `cxrexport build`, or see "
            "`cxrclient doctor`"
        )


def _named(faults: Iterable[Fault]) -> str:
    return ", ".join(fault.file for fault in faults)
