"""Multiply-accumulates of an ONNX graph, counted from the graph itself.

Convolutions and matrix products are counted, at batch 1; normalisation, activations, pooling and
resizing are not, as is usual (they move memory, they do not multiply matrices).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import onnx
from onnx import shape_inference

Shapes = dict[str, tuple[int, ...]]


def graph_gmac(path: Path) -> float:
    """GMAC of one film through the graph.

    Raises:
        ValueError: a convolution or product whose shape does not follow from the graph.
    """
    return model_gmac(onnx.load(path))


def model_gmac(model: onnx.ModelProto) -> float:
    """As `graph_gmac`; every free axis of an input counts as 1."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = 1
    for value in fixed.graph.output:  # their symbols stand for the same axes
        value.type.tensor_type.ClearField("shape")
    shapes = _shapes(shape_inference.infer_shapes(fixed, data_prop=True))
    return sum(_node_mac(node, shapes) for node in fixed.graph.node) / 1e9


def repository_gmac(repository: Path) -> dict[str, float]:
    """Graph → GMAC of one film, for every `<graph>/1/model.onnx`, heaviest last."""
    counted = {path.parents[1].name: graph_gmac(path) for path in repository.glob("*/1/model.onnx")}
    return dict(sorted(counted.items(), key=lambda item: item[1]))


def _shapes(model: onnx.ModelProto) -> Shapes:
    graph = model.graph
    found: Shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = tuple(dim.dim_value for dim in dims)
    return found


def _node_mac(node: Any, shapes: Shapes) -> int:
    if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        return 0
    try:
        left, right = (shapes[name] for name in node.input[:2])
        out = shapes[node.output[0]]
    except KeyError as missing:
        raise ValueError(f"{node.op_type} {node.name}: the shape of {missing} is free") from None
    if node.op_type == "Conv":  # weights [out, in/groups, *kernel]: each output pixel sums these
        return math.prod(out) * math.prod(right[1:])
    if node.op_type == "ConvTranspose":  # weights [in, out/groups, *kernel]: each input pixel
        return math.prod(left) * math.prod(right[1:])
    if node.op_type == "MatMul":
        return math.prod(out) * left[-1]
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return math.prod(out) * left[0 if transposed else 1]
