"""Matrix products of vectors, written as multiplications and sums."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

__all__ = ["without_products"]

_LAST, _LAST_BUT_ONE, _SECOND = "axis.last", "axis.last_but_one", "axis.second"
_AXES = {_LAST: -1, _LAST_BUT_ONE: -2, _SECOND: 1}


def without_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose Gemm and MatMul nodes are Mul and ReduceSum, in the same precision.

    TensorRT-RTX 1.7 computes no fp32 matrix product on Turing (SM75), and the head shall be fp32.
    Its products are of one vector a film each, so nothing is lost by it.

    Args:
        model: every product in it has a vector on one side, which shape inference can tell.

    Raises:
        ValueError: a product is of two matrices.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*inferred.value_info, *inferred.input, *inferred.output]
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Gemm":
            nodes += _affine(node)
        elif node.op_type == "MatMul":
            nodes += _product(node, shapes)
        else:
            nodes.append(node)
    if len(nodes) == len(graph.node):
        return model
    del graph.node[:]
    graph.node.extend(nodes)
    for name, axis in _AXES.items():
        graph.initializer.append(numpy_helper.from_array(np.array([axis], np.int64), name))
    onnx.checker.check_model(model, full_check=True)
    return model


def _affine(node: NodeProto) -> list[NodeProto]:
    """Write x [N, k] · Wᵀ + b, with W [m, k], as x [N, 1, k] times W, summed over k."""
    x, weight, bias = node.input
    (y,) = node.output
    attributes = {
        attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute
    }
    if attributes.get("transB") != 1 or attributes.get("transA", 0) != 0:
        raise ValueError(f"{node.name} is no fully connected layer")
    return [
        helper.make_node("Unsqueeze", [x, _SECOND], [f"{y}.row"], f"{node.name}.row"),
        helper.make_node("Mul", [f"{y}.row", weight], [f"{y}.terms"], f"{node.name}.terms"),
        _sum(node, f"{y}.terms", f"{y}.sum", _LAST, keepdims=0),
        helper.make_node("Add", [f"{y}.sum", bias], [y], f"{node.name}.bias"),
    ]


def _product(node: NodeProto, shapes: dict[str, list[int]]) -> list[NodeProto]:
    """A [.., m, k] · B [.., k, n], where n or m is 1: the vector's transpose times the other."""
    a, b = node.input
    (y,) = node.output
    if shapes[b][-1] == 1:
        vector, matrix, axis = b, a, _LAST
    elif shapes[a][-2] == 1:
        vector, matrix, axis = a, b, _LAST_BUT_ONE
    else:
        raise ValueError(f"{node.name} multiplies two matrices, {shapes[a]} and {shapes[b]}")
    order = [*range(len(shapes[vector]) - 2), len(shapes[vector]) - 1, len(shapes[vector]) - 2]
    turned = f"{y}.turned"
    return [
        helper.make_node("Transpose", [vector], [turned], f"{node.name}.turned", perm=order),
        helper.make_node("Mul", [turned, matrix], [f"{y}.terms"], f"{node.name}.terms"),
        _sum(node, f"{y}.terms", y, axis, keepdims=1),
    ]


def _sum(node: NodeProto, terms: str, total: str, axis: str, keepdims: int) -> NodeProto:
    name = f"{node.name}.sum"
    return helper.make_node("ReduceSum", [terms, axis], [total], name, keepdims=keepdims)
