"""What cannot be served is refused, with a reason and what mends it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from served import refused
from tiny_repository import record

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")


def test_a_model_that_does_not_load_is_named_with_its_reason(tiny_repository: Path) -> None:
    (tiny_repository / "identity" / "1" / "model.onnx").write_bytes(b"\x08\x08no graph")
    record(tiny_repository)
    reason = refused(tiny_repository)
    assert reason.startswith("model identity does not load: OpenVINO cannot read model.onnx")


def test_a_graph_that_disagrees_with_its_configuration_is_not_served(
    tiny_repository: Path,
) -> None:
    config = tiny_repository / "identity" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text().replace("dims: 4", "dims: 5"))
    reason = refused(tiny_repository)
    assert "model identity does not load: input X is [?,4] in the graph, [?,5]" in reason


def test_a_configuration_that_triton_cannot_parse_is_named(tiny_repository: Path) -> None:
    config = tiny_repository / "identity" / "configs" / "cpu.pbtxt"
    config.write_text(config.read_text() + "nonsense {")
    reason = refused(tiny_repository)
    assert "model identity does not load: failed to read text proto" in reason


def test_a_missing_graph_is_named_before_the_server_starts(tiny_repository: Path) -> None:
    (tiny_repository / "identity" / "1" / "model.onnx").unlink()
    reason = refused(tiny_repository)
    assert "lacks identity/1/model.onnx" in reason
    assert "cxrexport build" in reason


def test_a_graph_that_is_not_the_recorded_one_is_not_served(tiny_repository: Path) -> None:
    told = {"spec": {}, "graphs": {"identity": "0" * 64}, "model_digest": "1" * 64}
    (tiny_repository / "repository.json").write_text(json.dumps(told))
    reason = refused(tiny_repository, loading=False)
    assert "identity/1/model.onnx has sha256" in reason
    assert "cxrexport build" in reason


def test_an_ensemble_that_does_not_say_what_clients_need_is_not_served(
    tiny_repository: Path,
) -> None:
    config = tiny_repository / "cxr" / "config.pbtxt"
    config.write_text(config.read_text().replace("'threshold'", "'limit'"))
    reason = refused(tiny_repository)
    assert "does not say what clients need (KeyError: 'threshold')" in reason


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path) -> None:
    assert "--model-repository DIR" in refused(tmp_path)


def test_a_gpu_that_is_not_there_is_said_and_the_cpu_offered(tiny_repository: Path) -> None:
    if any(Path("/proc/driver/nvidia/gpus").glob("*")):
        pytest.skip("this machine has a GPU")
    reason = refused(tiny_repository, "--device", "gpu")
    assert "no NVIDIA GPU" in reason
    assert "--device cpu" in reason


def test_a_log_file_that_cannot_be_written_is_one_line(tiny_repository: Path) -> None:
    reason = refused(tiny_repository, "--log-file", str(tiny_repository / "absent" / "log"))
    assert "could not be started" in reason
