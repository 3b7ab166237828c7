"""The GPU benchmark: refused without a GPU, and the same code at a small size on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gpu
import pytest
import torch

GMAC = 0.2521  # of a film of 64 px at width 0.25, by torch's counter
SMOKE = ["--device", "cpu", "--size", "64", "--width", "0.25", "--seconds", "0.01"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads of a machine that others use wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows(path: Path, *arguments: str) -> list[dict]:
    assert gpu.main([*SMOKE, *arguments, "--output", str(path)]) == 0
    return json.loads(path.read_text())["rows"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("gpu")
    arguments = ["--batches", "1,2", "--compile-batches", "", "--plans", str(folder)]
    return rows(folder / "gpu.json", *arguments)


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
        (mode, batch)
        for mode in ("eager fp32, TF32 off", "bf16 autocast, channels last")
        for batch in (1, 2)
    }
    for (mode, _), row in ran.items():
        assert row["finite"]
        assert row["difference"] < (1e-3 if "fp32" in mode else 2e-2)
        assert row["films_s"] == pytest.approx(row["batch"] / row["median_s"], rel=1e-3)
        assert row["tmac_s"] == pytest.approx(GMAC * row["films_s"] / 1e3, rel=0.01)


def test_what_needs_a_gpu_says_so_and_the_rest_goes_on(smoke: list[dict]) -> None:
    failed = {row["mode"]: row["failed"] for row in smoke if "failed" in row}
    assert failed == dict.fromkeys(
        ("eager fp32, TF32 on", "bf16, CUDA graph", "TensorRT plans, fp16"), "needs a GPU"
    )


def test_nothing_but_torch_and_monai_is_needed() -> None:
    root = Path(gpu.__file__).parents[1]
    program = f"""
import sys
for name in ("typer", "rich", "onnx", "onnxruntime", "openvino", "cv2", "pydicom", "tritonclient",
             "cxrclient", "psutil", "pydantic", "yaml", "safetensors", "sklearn", "tensorrt"):
    sys.modules[name] = None  # importing it raises ImportError
sys.path[:0] = [{str(root / "benchmarks")!r}, {str(root / "export")!r}]
import gpu, gpu_networks
print("imported")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "imported\n", done.stderr


@pytest.mark.slow
def test_the_compiled_ensemble_says_what_eager_says(tmp_path: Path) -> None:
    found = rows(tmp_path / "gpu.json", "--batches", "1", "--compile-batches", "1")
    (row,) = (row for row in found if row["mode"] == "bf16, torch.compile")
    assert row.get("failed") is None
    assert row["difference"] < 2e-2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_every_way_runs_on_a_gpu(tmp_path: Path) -> None:
    arguments = ["--size", "256", "--batches", "1,2", "--compile-batches", "1"]
    path = tmp_path / "gpu.json"
    assert gpu.main([*arguments, "--seconds", "0.1", "--output", str(path)]) == 0
    found = json.loads(path.read_text())["rows"]
    assert [row for row in found if "failed" in row] == []
    assert max(row["difference"] for row in found) < 2e-2
