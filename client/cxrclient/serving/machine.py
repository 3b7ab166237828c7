"""What this machine can compute with: its GPUs, its CPU, the TensorRT of its server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
DRIVERS_GPUS = Path("/proc/driver/nvidia/gpus")
NVIDIA_SMI_TIMEOUT_S = 20.0
LIBCUDA_TIMEOUT_S = 60.0
"""It wakes every GPU of the machine."""

_LIBRARY = re.compile(r"libnvinfer\.so\.(\d+\.\d+\.\d+)")
# Where NGC's images, NVIDIA's Debian packages and its tar archives put TensorRT.
_LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/tensorrt/lib",
    "/opt/tensorrt/lib",
)
_OLDEST_DRIVER = {12: 525, 13: 580}
"""CUDA → the driver that it needs. Source: NVIDIA, CUDA Compatibility, table 1 (minor version
compatibility: a driver of one major version runs all of it)."""
_CUDA = 13
"""Of the TensorRT that deploy/docker pins; NVIDIA's images tell their own in CUDA_VERSION."""
# Prints the CUDA version that libcuda has, such as 13010; nothing where it finds no GPU to use.
_ASK_LIBCUDA = """
import ctypes
cuda, version = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
if cuda.cuInit(0) == 0 and cuda.cuDriverGetVersion(ctypes.byref(version)) == 0:
    print(version.value)
"""


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU.

    Attributes:
        name: as the driver tells it.
        compute_capability: such as `8.9`.
        driver: its version.
    """

    name: str
    compute_capability: str
    driver: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.compute_capability})"


@dataclass(frozen=True, slots=True)
class Cpu:
    """This machine's processor, as the kernel describes it.

    Attributes:
        name: of the model.
        bf16: it multiplies bfloat16 (AVX512_BF16, AMX_BF16, or Arm's BF16).
        int8: it multiplies 8-bit integers in one instruction (VNNI, AMX, Arm's dot product).
    """

    name: str
    bf16: bool
    int8: bool


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that `nvidia-smi` lists; none where there is none, or no driver."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(  # noqa: S603  # fixed words, no shell
            query, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = ([cell.strip() for cell in line.split(",")] for line in answer.splitlines())
    found = (row for row in rows if len(row) == 3 and re.fullmatch(r"\d+\.\d+", row[1]))
    return tuple(Gpu(*row) for row in found)


def has_nvidia_gpu() -> bool:
    """Say whether the NVIDIA driver knows a GPU, which needs no program to be there."""
    return any(DRIVERS_GPUS.glob("*"))


def driver_lack(here: Iterable[Gpu]) -> str | None:
    """Say why the server's CUDA does not run on the driver, and how to mend it; None if it does.

    An older driver will do where CUDA's compatibility libraries stand in for its own libcuda. No
    number of the driver tells it: the libcuda that programs load is asked.

    Args:
        here: the GPUs; a driver whose version is not known is not judged.
    """
    needed = int((re.match(r"\d+", os.environ.get("CUDA_VERSION", "")) or [_CUDA])[0])
    # Of a CUDA that is not in the table, no less than the newest that is.
    oldest = _OLDEST_DRIVER.get(needed, max(_OLDEST_DRIVER.values()))
    drivers = {gpu.driver for gpu in here}
    old = sorted(each for each in drivers if (n := re.match(r"\d+", each)) and int(n[0]) < oldest)
    if not old or _libcuda_version() // 1000 >= needed:
        return None
    return (
        f"the NVIDIA driver {' and '.join(old)} is older than {oldest}, which CUDA {needed} needs, "
        f"and no compatibility libraries are in use: install driver {oldest} or newer on the host; "
        f"on a data-centre GPU it is enough to start the container through NVIDIA's entrypoint "
        f"(/opt/nvidia/nvidia_entrypoint.sh), which takes these libraries"
    )


def _libcuda_version() -> int:
    """The CUDA version of the libcuda that programs load, if it can use a GPU; else 0."""
    # A process of its own: what libcuda starts in a process stays in it, and is lost by a fork.
    command = [sys.executable, "-I", "-c", _ASK_LIBCUDA]
    try:
        answer = subprocess.run(  # noqa: S603  # fixed words, no shell
            command, capture_output=True, text=True, timeout=LIBCUDA_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return int(answer) if answer.strip().isdigit() else 0


def cpu() -> Cpu:
    """Read the processor's name and instructions from /proc/cpuinfo."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Cpu("unknown", bf16=False, int8=False)
    fields: dict[str, str] = dict(
        re.findall(r"^(model name|flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    )
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return Cpu(
        name=fields.get("model name", "unknown"),
        bf16=bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}),
        int8=bool(flags & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}),
    )


def tensorrt_versions() -> tuple[str, ...]:
    """Return the versions of the TensorRT libraries in the system, such as 10.13.3.

    An NGC image has exactly one, its server's. Nothing tells more without loading it: the file's
    name carries the version, which a server's metadata does not.
    """
    folders = [*os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep), *_LIBRARY_FOLDERS]
    found = set()
    for folder in filter(None, folders):
        for path in Path(folder).glob("libnvinfer.so.*"):
            version = _LIBRARY.fullmatch(path.name)
            if version is not None:
                found.add(version[1])
    return tuple(sorted(found))
