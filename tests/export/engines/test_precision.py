"""What of a graph computes in fp16 or bf16, and with which constants."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cxrexport.engines.precision import emulated, lower_nodes, mixed_precision
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of

GRAPHS = graphs_of(DEFAULT_MEMBERS)


LOWER = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
BODY = {"Conv", "ConvTranspose", "Relu", "PRelu", "MaxPool", "Add", "Concat", "Cast"}
HALF_STEP = 1 + 2**-8 + 2**-12
"""Rounded to bf16 it is 1 + 2^-7; by way of fp16, which loses the last digit, it is 1."""


@pytest.fixture(scope="module")
def graphs(model_repository: Path) -> dict[str, onnx.ModelProto]:
    return {g: onnx.load(model_repository / g / "1" / "model.onnx") for g in GRAPHS}


@pytest.fixture(scope="module")
def mixed(graphs):
    """Made once each: `mixed(graph, precision)`."""
    made = {}

    def make(graph: str, precision: str) -> onnx.ModelProto:
        if (graph, precision) not in made:
            made[graph, precision] = mixed_precision(graphs[graph], precision)
        return made[graph, precision]

    return make


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor → element type, as ONNX infers it."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def tiny(weight: float, convolutions: int = 1) -> onnx.ModelProto:
    """Convolutions of one channel and one element, one behind the other: products."""
    nodes, before = [], "x"
    for index in range(convolutions):
        nodes.append(helper.make_node("Conv", [before, "w"], [f"y{index}"], f"conv{index}"))
        before = f"y{index}"
    shape = ["batch", 1, 1, 1]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(before, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.full((1, 1, 1, 1), weight, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def weight_of(model: onnx.ModelProto) -> float:
    (tensor,) = model.graph.initializer
    return float(numpy_helper.to_array(tensor).astype(np.float64).item())


def run(model: onnx.ModelProto, x: float) -> float:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return float(session.run(None, {"x": np.full((1, 1, 1, 1), x, np.float32)})[0].item())


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graphs_edges_stay_as_they_are_configured(graphs, mixed, graph: str) -> None:
    before, after = graphs[graph].graph, mixed(graph, "fp16").graph
    assert list(after.input) == list(before.input)
    assert list(after.output) == list(before.output)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("graph", ["resnet34", "vgg16"])
def test_only_convolutions_and_what_lies_between_them_are_lower(
    mixed, graph: str, precision: str
) -> None:
    model = mixed(graph, precision)
    types = types_of(model)
    lower = {node.op_type for node in model.graph.node if types[node.output[0]] == LOWER[precision]}
    assert {"Conv", "Relu"} <= lower <= BODY
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert all(types[node.output[0]] == LOWER[precision] for node in convolutions)


def test_the_unets_norms_and_sigmoid_are_fp32_and_all_else_fp16(mixed) -> None:
    model = mixed("segment", "fp16")
    types = types_of(model)
    lower = {n.op_type for n in model.graph.node if types[n.output[0]] == TensorProto.FLOAT16}
    assert lower == {"Conv", "ConvTranspose", "PRelu", "Concat", "Cast"}
    rest = [n for n in model.graph.node if types[n.output[0]] == TensorProto.FLOAT]
    assert {n.op_type for n in rest} == {"InstanceNormalization", "Sigmoid", "Cast"}
    for node in rest:
        assert node.op_type == "Cast" or {types[name] for name in node.input} == {TensorProto.FLOAT}


def test_a_norms_scale_and_bias_are_those_of_the_graph(graphs, mixed) -> None:
    before, after = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for model in (graphs["segment"], mixed("segment", "fp16"))
    )
    norms = [n for n in mixed("segment", "fp16").graph.node if n.op_type == "InstanceNormalization"]
    assert len(norms) == 8
    for name in {name for node in norms for name in node.input[1:]}:
        assert after[name].dtype == np.float32
        np.testing.assert_array_equal(after[name], before[name])


def test_the_unet_is_fp16_where_the_backbones_are_bf16(mixed) -> None:
    assert mixed("segment", "bf16") == mixed("segment", "fp16")


def test_the_average_stays_fp32(graphs, mixed) -> None:
    assert lower_nodes(graphs["average"].graph) == []
    assert TensorProto.FLOAT16 not in types_of(mixed("average", "fp16")).values()


@pytest.mark.parametrize("graph", [g for g in GRAPHS if g != "average"])
def test_the_body_has_one_cast_at_each_end_and_a_pair_around_each_norm(mixed, graph: str) -> None:
    model = mixed(graph, "fp16")
    types = types_of(model)
    norms = [node for node in model.graph.node if node.op_type == "InstanceNormalization"]
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    ends = [(types[node.input[0]], types[node.output[0]]) for node in casts]
    assert ends.count((TensorProto.FLOAT, TensorProto.FLOAT16)) == 1 + len(norms)
    assert ends.count((TensorProto.FLOAT16, TensorProto.FLOAT)) == 1 + len(norms)
    others = {ends_ for ends_ in ends if TensorProto.FLOAT16 in ends_}
    assert len(others) == 2  # and none of another kind, such as of a stored weight


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_every_lower_constant_is_rounded_once_from_its_fp32_value(
    graphs, mixed, precision: str
) -> None:
    stored = graphs["resnet34"].graph.initializer
    values = {t.name.removesuffix(".fp16"): numpy_helper.to_array(t) for t in stored}
    kind = np.float16 if precision == "fp16" else ml_dtypes.bfloat16
    lower = [t for t in mixed("resnet34", precision).graph.initializer if t.data_type != 1]
    checked = [t for t in lower if t.data_type == LOWER[precision]]
    assert len(checked) == 72  # 36 convolutions, weights and biases
    for tensor in checked:
        expected = values[tensor.name].astype(np.float32).astype(kind)
        assert numpy_helper.to_array(tensor).tobytes() == expected.tobytes(), tensor.name


def test_a_bf16_constant_does_not_pass_through_fp16() -> None:
    assert weight_of(mixed_precision(tiny(HALF_STEP), "bf16")) == 1 + 2**-7


def test_a_subnormal_weight_keeps_its_value() -> None:
    assert weight_of(mixed_precision(tiny(2**-24), "fp16")) == 2**-24


def test_fp32_keeps_every_stored_weight_and_has_no_cast_of_one(graphs, mixed) -> None:
    model = mixed("vgg16", "fp32")
    stored = {t.name.removesuffix(".fp16"): t for t in graphs["vgg16"].graph.initializer}
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(stored[tensor.name])
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), value)
    assert not any(node.input[0].endswith(".fp16") for node in model.graph.node)


def test_the_same_graph_gives_the_same_bytes(graphs, mixed) -> None:
    again = mixed_precision(graphs["resnet34"], "fp16")
    assert again.SerializeToString(deterministic=True) == mixed(
        "resnet34", "fp16"
    ).SerializeToString(deterministic=True)


def test_metadata_stays_with_the_graph(graphs, mixed) -> None:
    for precision in ("fp16", "bf16"):
        assert mixed("vgg16", precision).metadata_props == graphs["vgg16"].metadata_props


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_emulation_rounds_after_every_operation(precision: str) -> None:
    kind = np.float16 if precision == "fp16" else ml_dtypes.bfloat16
    x, weight = np.float32(0.7), np.float32(1.25)
    expected = kind(x)
    for _ in range(8):
        expected = kind(np.float32(expected) * np.float32(kind(weight)))
    model = emulated(mixed_precision(tiny(1.25, convolutions=8), precision))
    assert run(model, 0.7) == float(expected)
    unrounded = np.float32(kind(x)) * np.float32(kind(weight)) ** 8
    assert float(expected) != float(kind(unrounded))  # or the test would not see the difference


def test_emulation_of_fp32_changes_nothing(graphs, mixed) -> None:
    exact = emulated(mixed("average", "fp32"))
    inputs = {
        value.name: np.random.default_rng(0).random(
            [1, *(d.dim_value for d in value.type.tensor_type.shape.dim[1:])], dtype=np.float32
        )
        for value in exact.graph.input
    }
    answers = [
        onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)
        for model in (graphs["average"], exact)
    ]
    for ours, theirs in zip(*answers, strict=True):
        np.testing.assert_array_equal(ours, theirs)
