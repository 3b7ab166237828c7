"""An ensemble of one graph that adds nothing: loads in a second, with the real backends."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from cxrclient.files import sha256_of
from cxrclient.serving import model_digest

DIGEST = "0123456789abcdef" * 4
PARAMETERS = {
    "model_name": "tiny",
    "model_digest": DIGEST,
    "notice": "It adds nothing.",
    "labels": '["other", "covid"]',
    "members": '["identity"]',
    "threshold": "0.5",
    "image_size_px": "64",
    "embedding_size": "4",
    "preprocessing_digest": DIGEST,
}


def write(repository: Path) -> Path:
    """Write it into a new folder, and return that."""
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["batch", 4])
    nodes = [helper.make_node("Identity", ["X"], ["Y"])]
    graph = helper.make_graph(nodes, "identity", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    edges = (
        'max_batch_size: 16 input { name: "X" data_type: TYPE_FP32 dims: 4 } '
        'output { name: "Y" data_type: TYPE_FP32 dims: 4 } '
    )
    for name in ("identity", "cxr"):
        (repository / name / "1").mkdir(parents=True)
    (repository / "cxr" / "1" / "README.md").write_text("An ensemble has no file.\n")
    onnx.save(model, repository / "identity" / "1" / "model.onnx")
    (repository / "identity" / "configs").mkdir()
    (repository / "identity" / "configs" / "cpu.pbtxt").write_text(
        f'name: "identity" backend: "openvino" {edges}'
        'instance_group { kind: KIND_CPU }\ndefault_model_filename: "model.onnx"\n'
    )
    (repository / "cxr" / "config.pbtxt").write_text(
        f'name: "cxr" platform: "ensemble" {edges}'
        'ensemble_scheduling { step { model_name: "identity" model_version: -1'
        ' input_map { key: "X" value: "X" } output_map { key: "Y" value: "Y" } } }'
        + "".join(
            f"parameters {{ key: '{key}' value {{ string_value: '{value}' }} }}"
            for key, value in PARAMETERS.items()
        )
    )
    record(repository)
    return repository


def record(repository: Path) -> None:
    """Record its graph as it lies there, as `cxrexport build` does."""
    graphs = {"identity": sha256_of(repository / "identity" / "1" / "model.onnx")}
    spec = {"model_name": "tiny", "preprocessing": {}, "labels": json.loads(PARAMETERS["labels"])}
    digest = model_digest(graphs, sha256_of("{}"), spec["labels"], None)
    content = {"spec": spec, "graphs": graphs, "model_digest": digest}
    (repository / "repository.json").write_text(json.dumps(content))
