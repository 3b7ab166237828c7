"""The precisions of the CPU: served, or refused with a reason."""

from __future__ import annotations

import http.client
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrclient.errors import ServeFailed
from cxrclient.serving.device import require_precision
from cxrclient.serving.embedded import EmbeddedServer
from served import PATIENCE_S, Serving, refused

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")


def add_int8(repository: Path) -> None:
    """An int8 variant as `cxrexport quantise` lays it down: OpenVINO's own format."""
    import openvino

    model = repository / "identity"
    graph = openvino.Core().read_model(model / "1" / "model.onnx")
    openvino.save_model(graph, model / "1" / "model.int8.xml", compress_to_fp16=False)
    (model / "1" / "model.int8.bin").write_bytes(b"\0" * 64)  # no weights in this one
    text = (model / "configs" / "cpu.pbtxt").read_text()
    (model / "configs" / "cpu-int8.pbtxt").write_text(text.replace("model.onnx", "model.int8.xml"))
    (repository / "repository.json").unlink()  # which knows nothing of it


def test_int8_is_served_where_the_repository_has_it(
    tiny_repository: Path, serve: Callable[..., Serving]
) -> None:
    add_int8(tiny_repository)
    line = serve(tiny_repository, "--precision", "int8").wait_ready()
    assert "on the CPU in int8" in line
    address = re.search(r"HTTP (127\.0\.0\.1):(\d+)", line)
    assert address is not None
    connection = http.client.HTTPConnection(address[1], int(address[2]), timeout=PATIENCE_S)
    connection.request("GET", "/v2/models/identity/config")
    config = json.loads(connection.getresponse().read())
    assert config["default_model_filename"] == "model.int8.xml"


def test_int8_of_a_repository_that_was_not_quantised_is_refused_with_the_command(
    tiny_repository: Path,
) -> None:
    reason = refused(tiny_repository, "--device", "cpu", "--precision", "int8", loading=False)
    command = f"cxrexport quantise --repository {tiny_repository} --manifest CSV"
    assert reason.startswith(f"{tiny_repository} has no int8 graphs: make them with `{command}`")


@pytest.mark.parametrize("file", ["model.int8.xml", "model.int8.bin"])
def test_a_missing_file_of_an_int8_graph_is_named(tiny_repository: Path, file: str) -> None:
    add_int8(tiny_repository)
    (tiny_repository / "identity" / "1" / file).unlink()
    reason = refused(tiny_repository, "--device", "cpu", "--precision", "int8", loading=False)
    assert f"lacks identity/1/{file}" in reason


@pytest.mark.parametrize(
    ("flags", "able"), [("fpu avx2 avx512f", False), ("avx2 avx512_bf16", True), ("amx_bf16", True)]
)
def test_bf16_is_refused_where_the_cpu_lacks_the_instructions(
    tiny_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, able: bool
) -> None:
    # One processor cannot be several: what the kernel says of it is replaced.
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: Test CPU\nflags\t\t: {flags}\n")
    monkeypatch.setattr("cxrclient.serving.machine.CPUINFO", cpuinfo)
    text = (tiny_repository / "identity" / "configs" / "cpu.pbtxt").read_text()
    (tiny_repository / "identity" / "configs" / "cpu-bf16.pbtxt").write_text(text)
    if able:
        assert EmbeddedServer(tiny_repository, device="cpu", precision="bf16").precision == "bf16"
        return
    with pytest.raises(ServeFailed, match=r"this CPU \(Test CPU\) has no bf16 instructions"):
        EmbeddedServer(tiny_repository, device="cpu", precision="bf16")


def test_a_repository_from_before_there_was_bf16_is_to_be_built_again(
    tiny_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : avx512_bf16\n")
    monkeypatch.setattr("cxrclient.serving.machine.CPUINFO", cpuinfo)
    with pytest.raises(ServeFailed, match="no configuration for bf16 of identity: build it again"):
        EmbeddedServer(tiny_repository, device="cpu", precision="bf16")


def test_a_precision_of_the_cpu_is_refused_on_a_gpu(tiny_repository: Path) -> None:
    with pytest.raises(ServeFailed, match="leave out `--precision f32`"):
        require_precision("f32", "gpu", tiny_repository)
    require_precision(None, "gpu", tiny_repository)
