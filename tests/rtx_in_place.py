"""TensorRT-RTX in TensorRT's place, where no GPU is.

TensorRT cannot be installed where there is no GPU for it (docs/adr/0012). TensorRT-RTX has the same
Python API, and builds without a GPU when it is told for which. What it makes is no plan that Triton
could load: it proves that our graphs parse, type-check and build. Where files go, what passports
say and what is kept is the same.
"""

from __future__ import annotations

import sys
import types

import pytest

from cxrclient.serving import machine
from cxrexport.engines import library

VERSION = "10.13.3.9"
"""The TensorRT that it stands for."""
GPU = machine.Gpu("NVIDIA L4", "8.9", "580.95.05")


def put(monkeypatch: pytest.MonkeyPatch, architecture: str = "SM89") -> None:
    """Let `import tensorrt` give TensorRT-RTX, on a machine with one GPU."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")

    class Builder(rtx.Builder):
        def create_builder_config(self):
            config = super().create_builder_config()
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(rtx.ComputeCapability, architecture), 0)
            return config

    module = types.ModuleType("tensorrt")
    module.__dict__.update({**vars(rtx), "Builder": Builder, "__version__": VERSION})
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(library, "tensorrt_versions", tuple)
    monkeypatch.setattr(library, "gpus", lambda: (GPU,))
