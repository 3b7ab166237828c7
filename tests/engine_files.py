"""What is read from an engine's file, and passports that are changed."""

from __future__ import annotations

import re
import struct

from onnx import TensorProto, helper

from cxrexport.engines.builder import GraphBuilder, Profile
from cxrexport.engines.library import load_library, resolve_target
from cxrexport.engines.request import EngineRequest
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.repository import Edges, Tensor

GRAPHS = graphs_of(DEFAULT_MEMBERS)

TYPES = {0: "TYPE_FP32", 3: "TYPE_INT32"}  # nvinfer1::DataType

_TENSOR = re.compile(
    rb"(?P<name>\w+)\x1c\x80\x01\x00\x03\x80\x01\x00\x00"
    rb"\x0d\x80\x01\x00\x07\x80\x01\x00(?P<type>.{4}).{80,160}?"
    rb"\x59\x80\x01\x00\x07\x80\x01\x00(?P<rank>.{4})\x01\x80\x09\x80\x01\x00.{8}",
    re.DOTALL,
)


def edges_in(engine: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name → type and dims without the batch axis, of a serialized engine's inputs and outputs."""
    found = {}
    for match in _TENSOR.finditer(engine):
        kind, rank = (struct.unpack("<i", match[field])[0] for field in ("type", "rank"))
        _, *dims = struct.unpack_from(f"<{rank}q", engine, match.end())  # the batch axis is free
        found[match["name"].decode()] = (TYPES[kind], tuple(dims))
    return found


def small_graph(op_type: str = "Relu", **attributes: int) -> bytes:
    """One operation between x, float32 [batch, 2, 3], and y, of the type that it is cast to."""
    node = helper.make_node(op_type, ["x"], ["y"], "the_node", **attributes)
    shape = ["batch", 2, 3]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", attributes.get("to", TensorProto.FLOAT), shape)
    graph = helper.make_graph([node], "small", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def builder_of(
    model: bytes, x: tuple[int, ...] = (2, 3), y: Tensor | None = None, preferred: int = 2
) -> GraphBuilder:
    """A builder for SM89, of a graph that is configured to take x and to give y."""
    edges = Edges((Tensor("x", "FP32", x),), (y or Tensor("y", "FP32", (2, 3)),))
    profile = Profile(preferred, 4)
    return GraphBuilder(load_library(), resolve_target("current"), "small", model, edges, profile)


def missing(request: EngineRequest) -> None:
    request.engine("average").unlink()
