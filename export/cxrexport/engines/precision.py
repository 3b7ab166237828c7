"""fp32 graphs → mixed precision, for TensorRT's strongly typed networks.

TensorRT from 10.12 on computes each operation in the type that the graph says. So the graph is
rewritten: convolutions and what lies between them in fp16 or bf16, all the rest in fp32. That rest
is what needs the digits: (x − mean) / std, the three fully connected layers, Grad-CAM, the U-Net's
sigmoid, and the whole of `average`; and what sums over a plane, which needs the range: instance
norm, and the mean before the first layer of a head.
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Literal

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cxrexport.stored_weights import replace_repeated, unfold

Precision = Literal["fp16", "bf16", "fp32"]

_LOWER_TYPES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_SUMS_OVER_A_PLANE = frozenset({"InstanceNormalization"})
"""In the body, but in fp32. TensorRT may keep the sums of a normalisation in its input's type, and
refuses `setComputePrecision` in a strongly typed network; at 1024 px these sums reach 2.5e5 in the
starter's U-Net (docs/adr/0012), and fp16 ends at 65,504."""
_BETWEEN = frozenset({"Relu", "PRelu", "MaxPool", "Add", "Concat"}) | _SUMS_OVER_A_PLANE
"""Operations that go on in the type of their inputs, where all of them are lower."""
_LARGEST_FP16 = 65504.0
# ONNX lets a convolution compute in bf16 from this version on.
_BF16_OPSET = 22


def mixed_precision(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Return a copy that computes its convolutions in a lower precision; its edges stay fp32.

    Every constant is rounded once, from the fp32 value that the graph computes with; the body of
    the graph begins with one cast and ends with one, and has others around its instance norms only,
    which compute in fp32.

    Args:
        model: a graph as `cxrexport build` writes it, stored weights and all.
        precision: of the convolutions; fp32 only unfolds the stored weights. A graph with
            transposed convolutions, the U-Net, takes fp16 in the place of bf16: NVIDIA's builder
            was seen to refuse those in bf16 (docs/adr/0012).

    Raises:
        ImportError: onnxconverter-common is not installed.
        onnx.checker.ValidationError: the model is not valid to begin with.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    unfold(model.graph)
    if precision == "bf16" and any(node.op_type == "ConvTranspose" for node in model.graph.node):
        precision = "fp16"
    lower = lower_nodes(model.graph)
    if lower and precision != "fp32":
        _splice(model.graph, lower, _converted_body(model, lower, precision))
        if precision == "bf16":
            from onnx import version_converter

            converted = version_converter.convert_version(model, _BF16_OPSET)
            helper.set_model_props(converted, {p.key: p.value for p in model.metadata_props})
            model = converted
    onnx.checker.check_model(model, full_check=True)
    return model


def lower_nodes(graph: onnx.GraphProto) -> list[NodeProto]:
    """Return the nodes that may compute in a lower precision, in the graph's order.

    A convolution does; a ReLU, pool, sum, concatenation or instance norm does where all that
    flows into it comes from such a node. So the film's normalisation before the first convolution
    and everything from the pooled features on stay out.
    """
    constants = {tensor.name for tensor in graph.initializer}
    produced: set[str] = set()
    found = []
    for node in graph.node:
        flowing = [name for name in node.input if name and name not in constants]
        between = node.op_type in _BETWEEN and flowing and produced.issuperset(flowing)
        if node.op_type in _CONVOLUTIONS or between:
            produced.update(node.output)
            found.append(node)
    return found


def _converted_body(
    model: onnx.ModelProto, lower: list[NodeProto], precision: Precision
) -> onnx.GraphProto:
    """Cut out the lower nodes and convert them, with a cast at each edge.

    Cut out first, because onnxconverter-common 1.16 keeps the types of a whole graph's edges well,
    but given a list of nodes to leave alone it makes an invalid graph of ours (docs/adr/0012).
    """
    from onnxconverter_common.float16 import convert_float_to_float16

    graph = model.graph
    inside = {node.name for node in lower}
    constants = {tensor.name for tensor in graph.initializer}
    made = [name for node in lower for name in node.output]
    used = {name for node in graph.node if node.name not in inside for name in node.input}
    used |= {output.name for output in graph.output}
    entering = dict.fromkeys(
        name for node in lower for name in node.input if name not in constants and name not in made
    )
    leaving = [name for name in made if name in used]
    inferred = onnx.shape_inference.infer_shapes(model)
    body = onnx.utils.Extractor(inferred).extract_model(list(entering), leaving)
    # No smallest positive value: the converter would lift subnormal weights to it.
    body = convert_float_to_float16(
        body, min_positive_val=0.0, max_finite_val=_LARGEST_FP16, keep_io_types=True,
        op_block_list=_SUMS_OVER_A_PLANE,
    )  # fmt: skip
    for cast in [node for node in body.graph.node if node.output[0] in leaving]:
        # The converter leaves readers inside on the fp32 side of the cast.
        _rename_reads(body.graph, cast.output[0], cast.input[0])
    if precision == "bf16":
        _fp16_to_bf16(body.graph, {tensor.name: tensor for tensor in graph.initializer})
    converted: onnx.GraphProto = body.graph
    return converted


def _fp16_to_bf16(graph: onnx.GraphProto, originals: dict[str, TensorProto]) -> None:
    """Make a converted graph bf16; its constants anew from fp32, so that none is rounded twice.

    onnxconverter-common knows fp16 only, and puts the casts in the same places.
    """
    import ml_dtypes

    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(originals[tensor.name]).astype(ml_dtypes.bfloat16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.BFLOAT16


def _splice(graph: onnx.GraphProto, lower: list[NodeProto], body: onnx.GraphProto) -> None:
    """Put the converted body in the place of the nodes that it was made from."""
    inside = {node.name for node in lower}
    outside = [node for node in graph.node if node.name not in inside]
    read_outside = {name for node in outside for name in node.input}
    for tensor in body.initializer:
        if tensor.name in read_outside:  # there in fp32, so this one needs a name of its own
            _rename_reads(body, tensor.name, f"{tensor.name}.lower")
            tensor.name = f"{tensor.name}.lower"
    made_anew = {tensor.name for tensor in body.initializer} | {
        name for node in lower for name in node.input
    }
    kept = [t for t in graph.initializer if t.name in read_outside or t.name not in made_anew]
    nodes = _in_order([*outside, *body.node])
    replace_repeated(graph.initializer, [*kept, *body.initializer])
    replace_repeated(graph.node, nodes)
    del graph.value_info[:]


def _rename_reads(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for index, read in enumerate(node.input):
            if read == old:
                node.input[index] = new


def _in_order(nodes: list[NodeProto]) -> list[NodeProto]:
    """Sort nodes so that each comes after what it reads."""
    maker = {name: index for index, node in enumerate(nodes) for name in node.output}
    order = TopologicalSorter(
        {index: {maker[name] for name in node.input if name in maker}
         for index, node in enumerate(nodes)}
    )  # fmt: skip
    return [nodes[index] for index in order.static_order()]


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model in fp32 that rounds after every operation as a mixed-precision one does.

    This is the arithmetic of a GPU's matrix units: products of fp16 or bf16 numbers, summed in
    fp32, the result rounded. ONNX Runtime on a CPU does not do it when given the mixed-precision
    graph itself: it has no bf16 convolutions, and computes whole runs of fp16 operations in fp32
    without rounding between them, so it would call an engine better than it is.

    Args:
        model: what `mixed_precision` returned.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in model.graph.initializer:
        if tensor.data_type in _LOWER_TYPES:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    rounded: dict[str, int] = {}  # tensor → the type that it is rounded to
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        target = helper.get_node_attr_value(node, "to") if node.op_type == "Cast" else None
        types = [rounded[name] for name in node.input if name in rounded]
        if target in _LOWER_TYPES:
            nodes += _rounding(node.input[0], node.output[0], target)
            rounded[node.output[0]] = target
        elif types and node.op_type == "Cast":  # back to fp32, which it is already
            nodes.append(helper.make_node("Identity", node.input, node.output, node.name))
        elif types:
            computed = NodeProto()
            computed.CopyFrom(node)
            computed.output[0] = f"{node.output[0]}.unrounded"
            nodes += [computed, *_rounding(computed.output[0], node.output[0], types[0])]
            rounded[node.output[0]] = types[0]
        else:
            nodes.append(node)
    replace_repeated(model.graph.node, nodes)
    del model.graph.value_info[:]
    return model


def _rounding(before: str, after: str, lower: int) -> list[NodeProto]:
    """Two casts: fp32 in, fp32 with the digits of the lower type out."""
    return [
        helper.make_node("Cast", [before], [f"{after}.lower"], to=lower),
        helper.make_node("Cast", [f"{after}.lower"], [after], to=TensorProto.FLOAT),
    ]
