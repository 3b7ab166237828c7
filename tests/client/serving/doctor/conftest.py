"""Repositories with and without plans, and machines with and without a GPU, for `cxrclient doctor`.

Plans need a GPU, so a small file stands for each, with a passport as `cxrexport engines` writes it;
and a script stands for nvidia-smi, where it is about a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrclient.serving import machine
from cxrclient.serving.tritonserver import Installation
from linked_copy import linked_copy
from stand_in_plans import (
    GRAPHS,
    add_plan,
)


@pytest.fixture
def repository(model_repository: Path, tmp_path: Path) -> Path:
    """A copy whose files are shared (never written into)."""
    return linked_copy(model_repository, tmp_path / "repository")


@pytest.fixture
def planned(repository: Path) -> Path:
    """A repository with six good plans."""
    for graph in GRAPHS:
        add_plan(repository, graph)
    return repository


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine look as if it had GPUs and a server's TensorRT."""

    def have(*lines: str, tensorrt: str | None = "10.13.3") -> None:
        programs, driver, libraries = (tmp_path / name for name in ("bin", "driver", "lib"))
        for folder in (programs, driver, libraries):
            folder.mkdir()
        script = programs / "nvidia-smi"
        script.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
        script.chmod(0o755)
        (driver / "0000:01:00.0").mkdir()
        monkeypatch.setattr(machine, "DRIVERS_GPUS", driver)
        monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
        if tensorrt is not None:
            (libraries / f"libnvinfer.so.{tensorrt}").touch()
        monkeypatch.setattr(machine, "_LIBRARY_FOLDERS", (str(libraries),))
        monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)

    return have


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Makes this machine one with nothing but a CPU, also where it has a GPU."""
    monkeypatch.setattr(machine, "DRIVERS_GPUS", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))


@pytest.fixture
def triton_with_tensorrt(tmp_path: Path) -> Installation:
    """The files of a server with the TensorRT backend; none of them is run."""
    (tmp_path / "backends" / "tensorrt").mkdir(parents=True)
    return Installation(tmp_path / "tritonserver", tmp_path / "backends", tmp_path / "stub")
