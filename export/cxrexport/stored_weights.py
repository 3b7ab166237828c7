"""How the large weights of a graph lie in its file: fp16, or int8 with a scale an output channel.

A graph computes in fp32 whatever it stores (docs/adr/0006, 0023): `rounded` says with which values,
`store` puts them into the file in fewer bytes without changing one of them, and `unfold` takes them
out again. What is not such a value, a constant or a statistic, stays fp32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from cxrexport.repository import Weights

Floats = npt.NDArray[np.float32]

SMALLEST_ELEMENTS = 1024
"""Smaller constants stay fp32: biases and normalisation cost nothing and keep their digits."""
_LARGEST_INT8 = 127
"""Symmetric: -128 is not used, so the zero point is 0, which TensorRT asks for."""
_SCALE_BITS = np.uint32(0xFFFFFF00)
"""A scale keeps 16 significant bits: times 7 bits of a weight, that is exact in fp32."""


def rounded(values: Floats, weights: Weights) -> Floats:
    """Give the values that a graph computes with, for a parameter of these.

    Args:
        values: a parameter; of a convolution or a fully connected layer the output channel is the
            first axis.
        weights: how it is to be stored. A vector is stored as fp16 in either case.

    Returns:
        float32 of the same shape; rounded again, they are the same.
    """
    if values.size < SMALLEST_ELEMENTS:
        return values
    if weights == "int8" and values.ndim > 1:
        whole, scales = _whole_numbers(values, 0)
        return np.asarray(whole * scales, dtype=np.float32)
    return values.astype(np.float16).astype(np.float32)


def store(model: onnx.ModelProto, weights: Weights) -> None:
    """Replace fp32 initialisers that hold rounded values by what they were rounded to.

    Args:
        model: changed in place; computes the same as before, to the last bit.
        weights: what its parameters were rounded to.
    """
    unfolding: list[NodeProto] = []
    initialisers: list[TensorProto] = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        large = tensor.data_type == TensorProto.FLOAT and values.size >= SMALLEST_ELEMENTS
        stored = _stored(tensor.name, values, weights) if large else None
        if stored is None:
            initialisers.append(tensor)
        else:
            unfolding.append(stored[0])
            initialisers += stored[1]
    nodes = [*unfolding, *model.graph.node]
    replace_repeated(model.graph.initializer, initialisers)
    replace_repeated(model.graph.node, nodes)


def unfold(graph: onnx.GraphProto) -> None:
    """Replace stored weights and the nodes that unfold them by fp32 initialisers, which is exact.

    Args:
        graph: changed in place.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    folded: set[str] = set()
    made: list[TensorProto] = []
    kept: list[NodeProto] = []
    for node in graph.node:
        if node.op_type not in ("Cast", "DequantizeLinear") or node.input[0] not in constants:
            kept.append(node)
            continue
        values = numpy_helper.to_array(constants[node.input[0]]).astype(np.float32)
        if node.op_type == "DequantizeLinear":
            scales = numpy_helper.to_array(constants[node.input[1]])
            axis = helper.get_node_attr_value(node, "axis")
            values = values * _along(scales, axis, values.ndim)
        folded.update(node.input)
        made.append(numpy_helper.from_array(values, node.output[0]))
    left = [tensor for tensor in graph.initializer if tensor.name not in folded]
    replace_repeated(graph.initializer, [*left, *made])
    replace_repeated(graph.node, kept)


def _stored(
    name: str, values: Floats, weights: Weights
) -> tuple[NodeProto, list[TensorProto]] | None:
    """Store one initialiser where that changes nothing: its node, and what the node reads."""
    # The second axis is the output channel where the exporter has transposed a layer's weights.
    for axis in (0, 1) if weights == "int8" and values.ndim > 1 else ():
        whole, scales = _whole_numbers(values, axis)
        if np.array_equal(whole * scales, values):
            inputs = [f"{name}.int8", f"{name}.scale"]
            node = helper.make_node(
                "DequantizeLinear", inputs, [name], f"{inputs[0]}.dequantize", axis=axis
            )
            arrays = (whole.astype(np.int8), scales.ravel())
            return node, list(map(numpy_helper.from_array, arrays, inputs))
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.array_equal(half.astype(np.float32), values):
        return None
    source = f"{name}.fp16"
    node = helper.make_node("Cast", [source], [name], f"{source}.cast", to=TensorProto.FLOAT)
    return node, [numpy_helper.from_array(half, source)]


def _whole_numbers(values: Floats, axis: int) -> tuple[Floats, Floats]:
    """Split weights into whole numbers in -127..127 and their scales, one an output channel.

    Returns:
        float32 of the values' shape, and of a shape that is multiplied with it.
    """
    others = tuple(number for number in range(values.ndim) if number != axis)
    scales = np.asarray(np.abs(values).max(axis=others) / _LARGEST_INT8, dtype=np.float32)
    scales = ((scales.view(np.uint32) + np.uint32(0x80)) & _SCALE_BITS).view(np.float32)
    scales = np.where(scales >= np.finfo(np.float32).tiny, scales, np.float32(1))
    spread = _along(scales, axis, values.ndim)
    whole = np.clip(np.rint(values / spread), -_LARGEST_INT8, _LARGEST_INT8)
    return np.asarray(whole, dtype=np.float32), spread


def _along(scales: Floats, axis: int, dimensions: int) -> Floats:
    return scales.reshape([-1 if number == axis else 1 for number in range(dimensions)])


def replace_repeated(field: object, values: Iterable[object]) -> None:
    """Set a repeated protobuf field; its old elements may be among the new ones."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]  # type: ignore[attr-defined]
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]
