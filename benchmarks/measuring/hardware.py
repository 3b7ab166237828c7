"""What the machine is: processor, instructions, GPU, versions, commit. Standard library only."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    *("cxr-triton", "nvidia-pytriton", "openvino", "onnxruntime", "onnx", "torch", "nncf"),
    *("tensorrt", "tensorrt-rtx-cu13", "tritonclient", "numpy", "opencv-python-headless", "monai"),
    "pydicom",
)
INSTRUCTION_SETS = (
    *("avx2", "avx_vnni", "fma", "avx512f", "avx512_vnni", "avx512_bf16"),
    *("amx_int8", "amx_bf16", "asimd"),
)


def describe() -> dict[str, Any]:
    """What the machine is: no name, no path of it."""
    flags = cpu_flags()
    return {
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "memory_gb": _memory_gb(),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
        "python": platform.python_version(),
        "versions": versions(),
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "load": os.getloadavg()[0],
    }


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Package → version, of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def instructions(precision: str, flags: set[str]) -> str | None:
    """Name the instructions for products in a precision; None where there are none of its own."""
    best = {
        "f32": (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON")),
        "bf16": (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")),
        "int8": (
            *(("amx_int8", "AMX"), ("avx512_vnni", "AVX512-VNNI"), ("avx_vnni", "AVX-VNNI")),
            ("avx2", "AVX2 without VNNI: three instructions where VNNI needs one"),
        ),
    }
    return next((words for flag, words in best[precision] if flag in flags), None)


def cpu_flags() -> set[str]:
    """Instruction sets and features as Linux names them; empty elsewhere."""
    text = _read("/proc/cpuinfo")
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return set(found[1].split()) if found else set()


def _cpu_name() -> str:
    text = _read("/proc/cpuinfo")
    facts = dict(re.findall(r"^([\w ]+?)\s*:\s*(.+)$", text, re.MULTILINE))
    name = facts.get("model name", platform.processor() or "unknown")
    if {"cpu family", "model"} <= facts.keys():  # a virtual machine's name says little
        name += f" (family {facts['cpu family']}, model {facts['model']})"
    return name


def _memory_gb() -> float | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) / 1e6 if found else None


def _gpus() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def _commit() -> str | None:
    """The commit, with `+` where files differ from it; None outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str:
        command = [git, "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    commit = ask("rev-parse", "--short", "HEAD")
    # Results are what a benchmark changes; they do not make the code another.
    changed = ask("status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results")
    return commit + "+" * bool(changed) if commit else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
