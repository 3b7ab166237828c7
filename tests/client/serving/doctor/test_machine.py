"""`cxrclient doctor` on this machine: its CPU, its GPUs and their driver."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrclient.errors import ServeFailed
from cxrclient.serving import machine
from cxrclient.serving.device import choose_device
from cxrclient.serving.machine import Cpu, Gpu
from cxrclient.serving.tritonserver import Installation
from stand_in_plans import (
    L4,
    examine,
)

OLD_DRIVER = "NVIDIA L4, 8.9, 550.54.15"


@pytest.fixture
def libcuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Makes a libcuda.so.1 that programs load, as CUDA's compatibility libraries are one."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed, and a libcuda has to be made")

    def make(init: int, version: int) -> None:
        folder = tmp_path / "compat"
        folder.mkdir()
        (folder / "cuda.c").write_text(
            f"int cuInit(unsigned flags) {{ return {init}; }}\n"
            f"int cuDriverGetVersion(int *version) {{ *version = {version}; return 0; }}\n"
        )
        command = [compiler, "-shared", "-fPIC", "-o", "libcuda.so.1", "cuda.c"]
        subprocess.run(command, cwd=folder, check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))

    return make


def test_a_cpu_machine_without_plans_is_fine(repository: Path, no_gpu: None) -> None:
    code, checks = examine(repository)
    assert code == 0
    assert checks["plans"][0]["finding"] == "none, and a CPU needs none"
    assert checks["repository"][0]["verdict"] == "ok"
    assert "OpenVINO computes in f32" in checks["CPU"][0]["finding"]


@pytest.mark.parametrize(
    ("flags", "cpu"),
    [
        ("fpu avx2", Cpu("Some CPU", bf16=False, int8=False)),
        ("fpu avx512_vnni", Cpu("Some CPU", bf16=False, int8=True)),
        ("fpu avx512_bf16 avx512_vnni", Cpu("Some CPU", bf16=True, int8=True)),
        ("amx_tile amx_bf16 amx_int8", Cpu("Some CPU", bf16=True, int8=True)),
    ],
)
def test_a_cpus_precisions_are_read_from_its_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, cpu: Cpu
) -> None:
    text = f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: {flags}\nbugs\t\t: none\n"
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert machine.cpu() == cpu


def test_nvidia_smi_tells_name_capability_and_driver(gpu: Callable[..., None]) -> None:
    gpu(L4, "NVIDIA A10, 8.6, 580.95.05", "an unreadable line")
    assert machine.gpus() == (
        Gpu("NVIDIA L4", "8.9", "580.95.05"),
        Gpu("NVIDIA A10", "8.6", "580.95.05"),
    )


def test_a_driver_too_old_for_cuda_is_wrong(planned: Path, gpu: Callable[..., None]) -> None:
    gpu(OLD_DRIVER)
    code, checks = examine(planned)
    assert (code, checks["GPU"][0]["verdict"]) == (1, "wrong")
    assert "driver 550.54.15 is older than 580, which CUDA 13 needs" in checks["GPU"][0]["finding"]
    assert "/opt/nvidia/nvidia_entrypoint.sh" in checks["GPU"][0]["finding"]


@pytest.mark.parametrize(
    ("init", "version", "does"),
    [
        (0, 13010, True),  # the compatibility libraries of CUDA 13.1, in use
        (0, 12040, False),  # the driver's own
        (804, 13010, False),  # those libraries on a GPU that they do not support
    ],
)
def test_an_older_driver_does_where_the_compatibility_libraries_are_in_use(
    planned: Path,
    gpu: Callable[..., None],
    libcuda: Callable[[int, int], None],
    init: int,
    version: int,
    does: bool,
) -> None:
    gpu(OLD_DRIVER)
    libcuda(init, version)
    code, checks = examine(planned)
    assert (code == 0, checks["GPU"][0]["verdict"] == "ok") == (does, does)


@pytest.mark.parametrize(
    ("line", "cuda", "does"),
    [
        (L4, None, True),
        ("NVIDIA L4, 8.9, 579.1", None, False),
        ("NVIDIA L4, 8.9, 580.65.06", "13.1.0.036", True),
        (OLD_DRIVER, "12.9.1.010", True),  # an image of CUDA 12
        ("NVIDIA L4, 8.9, 470.57", "12.9.1.010", False),
        (OLD_DRIVER, "14.0", False),  # of a CUDA that we do not know
        (OLD_DRIVER, "11.8.0", False),
        ("NVIDIA L4, 8.9, [N/A]", None, True),  # not known is not too old
    ],
)
def test_a_driver_is_judged_by_the_cuda_of_the_image(
    gpu: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    cuda: str | None,
    does: bool,
) -> None:
    gpu(line)
    monkeypatch.delenv("CUDA_VERSION", raising=False)
    if cuda is not None:
        monkeypatch.setenv("CUDA_VERSION", cuda)
    assert (machine.driver_lack(machine.gpus()) is None) is does


def test_serving_on_the_gpu_refuses_a_driver_too_old_for_cuda(
    planned: Path, gpu: Callable[..., None], triton_with_tensorrt: Installation
) -> None:
    gpu(OLD_DRIVER)
    with pytest.raises(ServeFailed, match=r"older than 580.*or serve with `--device cpu`"):
        choose_device("gpu", triton_with_tensorrt, planned)
