"""The GPU benchmark: refused without a GPU, and the same code at a small size on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
import torch

GMAC = 0.1162  # of a film of 64 px at width 0.125, by torch's counter
EXACT = "eager fp32, TF32 off"
SMOKE = ["--device", "cpu", "--size", "64", "--width", "0.125", "--seconds", "0.01"]


BLOCKED = (
    *("typer", "rich", "onnx", "onnxruntime", "openvino", "cv2", "pydicom", "tritonclient"),
    *("cxrclient", "psutil", "pydantic", "yaml", "safetensors", "sklearn", "tensorrt"),
)


def rows(path: Path, *arguments: str) -> list[dict]:
    assert gpu.main([*SMOKE, *arguments, "--output", str(path)]) == 0
    return json.loads(path.read_text())["rows"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """A run in a process where nothing but torch, MONAI and what they need can be imported."""
    folder, root = tmp_path_factory.mktemp("gpu"), Path(gpu.__file__).parents[1]
    options = [*SMOKE, "--batches", "1,2", "--compile-batches", "", "--plans", str(folder)]
    program = f"""
import sys
sys.modules.update(dict.fromkeys({BLOCKED!r}))  # importing one raises ImportError
sys.path[:0] = [{str(root / "benchmarks")!r}, {str(root / "export")!r}]
import gpu
sys.exit(gpu.main({[*options, "--output", str(folder / "gpu.json")]!r}))
"""
    # Threads of a machine that others use wait for each other longer than they work.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return json.loads((folder / "gpu.json").read_text())["rows"]


def assert_alike(row: dict, exact: bool = False) -> None:
    """Random weights exaggerate bf16's rounding, least in the lung map.

    Two films of noise have lung maps of cosine 0.80 and embeddings of 0.84 to 0.89 (measured).
    """
    assert row["difference"] < (1e-3 if exact else 0.1)
    assert row["embedding_cosine"] > (0.9999 if exact else 0.9)
    assert row["lungs_cosine"] > (0.99999 if exact else 0.999)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_gets_a_sentence_and_a_code_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "gpu.json"
    assert gpu.main(["--output", str(path)]) == gpu.NO_GPU == 4
    assert capsys.readouterr().err.startswith("No GPU that PyTorch can use: run this on a GPU")
    assert not path.exists()


def test_eager_and_bf16_say_the_same_on_every_batch(smoke: list[dict]) -> None:
    ran = {(row["mode"], row["batch"]): row for row in smoke if "failed" not in row}
    assert set(ran) == {
        (mode, batch) for mode in (EXACT, "bf16 autocast, channels last") for batch in (1, 2)
    }
    for (mode, _), row in ran.items():
        assert row["finite"]
        assert_alike(row, exact=mode == EXACT)
        assert row["films_s"] == pytest.approx(row["batch"] / row["median_s"], rel=1e-3)
        assert row["tmac_s"] == pytest.approx(GMAC * row["films_s"] / 1e3, rel=0.01)


def test_what_needs_a_gpu_says_so_and_the_rest_goes_on(smoke: list[dict]) -> None:
    failed = {row["mode"]: row["failed"] for row in smoke if "failed" in row}
    assert failed == dict.fromkeys(
        ("eager fp32, TF32 on", "bf16, CUDA graph", "TensorRT plans, fp16"), "needs a GPU"
    )


def test_nothing_but_torch_and_monai_is_needed(smoke: list[dict]) -> None:
    assert len(smoke) == 7  # two ways at two batches, three that need a GPU


@pytest.mark.slow
def test_the_compiled_ensemble_says_what_eager_says(tmp_path: Path) -> None:
    found = rows(tmp_path / "gpu.json", "--batches", "1", "--compile-batches", "1")
    (row,) = (row for row in found if row["mode"] == "bf16, torch.compile")
    assert row.get("failed") is None
    assert_alike(row)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_every_way_runs_on_a_gpu(tmp_path: Path) -> None:
    arguments = ["--size", "256", "--batches", "1,2", "--compile-batches", "1"]
    path = tmp_path / "gpu.json"
    assert gpu.main([*arguments, "--seconds", "0.1", "--output", str(path)]) == 0
    found = json.loads(path.read_text())["rows"]
    assert [row for row in found if "failed" in row] == []
    for row in found:
        assert_alike(row, exact=row["mode"] == EXACT)
