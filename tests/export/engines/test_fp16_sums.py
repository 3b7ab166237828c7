"""Sums over a plane, added up in fp16: TensorRT may do so where a graph gives them fp16 inputs.

ONNX Runtime on a CPU never does, and neither does `emulated`, which rounds results only. So the
graph is run here node by node, and an instance norm of fp16 inputs keeps its two sums in fp16.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cxrexport.engines.films import parity_films
from cxrexport.engines.precision import emulated, mixed_precision
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.preprocessing import preprocess
from cxrexport.repository import read_repository

GRAPHS = graphs_of(DEFAULT_MEMBERS)

DATA = Path(__file__).parents[4] / "shared" / "data"
PAPER_PX = 1024
SUMS = {"InstanceNormalization", "ReduceMean", "ReduceSum", "GlobalAveragePool", "AveragePool"}
SUMS |= {"Gemm", "MatMul", "Softmax"}


def at_paper_size(model: onnx.ModelProto) -> onnx.ModelProto:
    """The U-Net, which is fully convolutional, for films of 1024 px."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for edge in (*model.graph.input, *model.graph.output):
        for dim in edge.type.tensor_type.shape.dim[2:]:
            dim.dim_value = PAPER_PX
    del model.graph.value_info[:]
    return model


def norm_with_fp16_sums(node: NodeProto, x: np.ndarray, scale: np.ndarray, bias: np.ndarray):
    """Instance norm [1, C, H, W] by Σx and Σx², each addition rounded to fp16 (pairwise order)."""
    flat = x.astype(np.float16).reshape(*x.shape[:2], -1)
    with np.errstate(over="ignore", invalid="ignore"):
        total, squares = (
            values.sum(axis=2, dtype=np.float16, keepdims=True).astype(np.float32)
            for values in (flat, flat * flat)
        )
        mean = total / flat.shape[2]
        variance = squares / flat.shape[2] - mean**2
        epsilon = helper.get_node_attr_value(node, "epsilon")
        standard = (flat.astype(np.float32) - mean) / np.sqrt(variance + epsilon)
    return (standard * scale[:, None] + bias[:, None]).reshape(x.shape).astype(np.float32)


def run_with_fp16_sums(model: onnx.ModelProto, film: np.ndarray) -> np.ndarray:
    """Run what `emulated` returned; there a result in fp16 is first written as `.unrounded`."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    values[model.graph.input[0].name] = film
    for node in model.graph.node:
        names = list(dict.fromkeys(node.input))
        if node.op_type == "InstanceNormalization" and node.output[0].endswith(".unrounded"):
            values[node.output[0]] = norm_with_fp16_sums(node, *(values[n] for n in node.input))
            continue
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(values[name].dtype), values[name].shape
            )
            for name in names
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
        graph = helper.make_graph([node], "one", inputs, outputs)
        one = helper.make_model(graph, opset_imports=model.opset_import, ir_version=10)
        session = onnxruntime.InferenceSession(one.SerializeToString())
        answers = session.run(None, {name: values[name] for name in names})
        values.update(zip(node.output, answers, strict=True))
    return values[model.graph.output[0].name]


def films_of_paper_size(model_repository: Path) -> list[np.ndarray]:
    """One that needs no collection; and one of each collection, where they are."""
    spec = replace(read_repository(model_repository)[0].preprocessing, size_px=PAPER_PX)
    films = list(parity_films(spec, 1).images)
    for name in ("covid-cxr/images/nih_0058.jpg", "tb-lungs/images/CHNCXR_0001_0.jpg"):
        if (DATA / name).is_file():
            films.append(preprocess((DATA / name).read_bytes(), spec).image)
    return films


def dice(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one > 0.5, other > 0.5
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def test_lungs_of_paper_size_survive_sums_in_fp16(model_repository: Path) -> None:
    model = at_paper_size(onnx.load(model_repository / "segment" / "1" / "model.onnx"))
    exact = onnxruntime.InferenceSession(model.SerializeToString())
    mixed = emulated(mixed_precision(model, "fp16"))
    for film in films_of_paper_size(model_repository):
        (expected,) = exact.run(None, {"CXR": film[None]})
        assert 0.1 < (expected > 0.5).mean() < 0.5  # lungs
        found = run_with_fp16_sums(mixed, film[None])
        assert np.isfinite(found).all()
        assert dice(found, expected) >= 0.995


def test_the_emulation_tells_sums_that_overflow() -> None:
    node = helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"], epsilon=1e-5)
    film = np.ones((1, 1, 512, 512), np.float32)
    film[..., ::2] = 0
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    small = norm_with_fp16_sums(node, film[..., :64, :64], one, zero)
    np.testing.assert_allclose(np.abs(small), 1, atol=1e-3)
    assert not np.isfinite(norm_with_fp16_sums(node, film, one, zero)).all()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_what_adds_up_a_plane_or_a_vector_is_fp32(
    model_repository: Path, graph: str, precision: str
) -> None:
    """Convolutions alone add in lower inputs; their sums are of 9 elements a channel."""
    model = mixed_precision(onnx.load(model_repository / graph / "1" / "model.onnx"), precision)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    sums = [node for node in inferred.node if node.op_type in SUMS]
    assert sums
    lower = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
    assert [
        n.name for n in sums if {types.get(name) for name in (*n.input, *n.output)} & lower
    ] == []
