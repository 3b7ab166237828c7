"""The paper's size: full width, 1024 px, random weights, through the real server on the CPU."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton

from cxrclient.serving.embedded import EmbeddedServer
from cxrexport.repository import check_repository

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only"),
]


@pytest.fixture(scope="module")
def paper_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the command that users have."""
    repository = tmp_path_factory.mktemp("paper") / "model_repository"
    program = Path(sys.executable).with_name("cxrexport")
    options = ["--random-weights", "--recipe", "paper", "--films", "1"]
    command = [program, "build", *options, "--repository", repository]
    subprocess.run(list(map(str, command)), check=True)
    return repository


def test_a_full_width_repository_is_whole(paper_repository: Path) -> None:
    assert check_repository(paper_repository) == []


def test_a_full_width_repository_loads_and_answers_on_the_cpu(
    paper_repository: Path, drawn_film: Callable[..., np.ndarray]
) -> None:
    film = bytes(cv2.imencode(".png", drawn_film(rows=2000, columns=1800) * 16)[1])
    image = triton.InferInput("IMAGE", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[film]], dtype=np.object_))
    begin = time.perf_counter()
    with EmbeddedServer(paper_repository, device="cpu") as server:
        ready_s = time.perf_counter() - begin
        client = triton.InferenceServerClient(server.grpc_address)
        begin = time.perf_counter()
        result = client.infer("cxr", [image])
        answer_s = time.perf_counter() - begin
        client.close()
    print(f"ready after {ready_s:.1f} s, one film in {answer_s:.2f} s")  # noqa: T201
    shapes = {name: result.as_numpy(name).shape for name in ("LUNGS", "HEATMAP", "EMBEDDING")}
    assert shapes == {"LUNGS": (1, 1, 1024, 1024), "HEATMAP": (1, 32, 32), "EMBEDDING": (1, 128)}
    for name in ("PROBABILITY", "MEMBERS", "EMBEDDING", "HEATMAP", "LUNGS"):
        assert np.isfinite(result.as_numpy(name)).all(), name
