"""Networks → ONNX graphs: fp16 weights, fp32 arithmetic, names as the ensemble knows them."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cxrclient.files import write_whole
from cxrexport.repository import Edges

_logger = logging.getLogger(__name__)

OPSET = 18
# Smaller constants stay fp32: biases and normalisation cost nothing and keep their digits.
SMALLEST_FP16_ELEMENTS = 1024


def random_inputs(edges: Edges, batch: int, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Draw inputs of a graph, uniform in 0..1, float32, for tracing and parity."""
    generator = np.random.default_rng(seed)
    return {
        tensor.name: generator.random((batch, *tensor.dims), dtype=np.float32)
        for tensor in edges.inputs
    }


def round_weights(module: nn.Module) -> nn.Module:
    """Return a copy for inference: batch norm folded, large weights rounded to fp16 and back.

    This is what the graph computes with. Folding comes first because the exporter would fold too,
    after the rounding, and the graph's weights would then be rounded twice.
    """
    rounded = copy.deepcopy(module).eval()
    _fold_batch_norm(rounded)
    with torch.no_grad():
        for parameter in rounded.parameters():
            if parameter.numel() >= SMALLEST_FP16_ELEMENTS:
                parameter.copy_(parameter.half().float())
    return rounded


# Names of a convolution and the batch norm behind it: in MONAI's and torchvision's ResNets, then in
# DenseNets, whose other norms stand before a ReLU and cannot be folded.
_CONV_NORM_PAIRS = (
    *(("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")),
    *(("conv0", "norm0"), ("conv1", "norm2")),
)


def _fold_batch_norm(module: nn.Module) -> None:
    for parent in list(module.modules()):
        for conv_name, norm_name in _CONV_NORM_PAIRS:
            conv = getattr(parent, conv_name, None)
            norm = getattr(parent, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())


def export_graph(module: nn.Module, edges: Edges, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a module as ONNX with a free batch axis.

    Large weights are stored as fp16 and cast to fp32 inside the graph: half the file, and the
    same arithmetic as `round_weights(module)` in torch.

    Args:
        module: takes the inputs in order, returns the outputs in order.
        edges: the graph's tensors.
        path: the file to write; appears whole or not at all.
        metadata: strings stored in the model (digests, recipe).
    """
    rounded = round_weights(module)
    batch = torch.export.Dim("batch", min=1, max=64)
    inputs = random_inputs(edges, batch=2)
    example = tuple(torch.from_numpy(array) for array in inputs.values())
    axes: Any = tuple({0: batch} for _ in example)
    if any(
        p.kind is p.VAR_POSITIONAL for p in inspect.signature(rounded.forward).parameters.values()
    ):
        axes = (axes,)  # torch.export wants *args as one nested tuple
    with torch.no_grad():
        program = torch.onnx.export(
            rounded,
            example,
            input_names=list(inputs),
            output_names=[tensor.name for tensor in edges.outputs],
            dynamic_shapes=axes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101  # dynamo=True always returns one
    model: onnx.ModelProto = program.model_proto
    _store_weights_as_fp16(model, {name for name, _ in rounded.named_buffers()})
    _drop_traces(model)
    helper.set_model_props(model, dict(metadata))
    model.producer_name = "cxr-triton"
    model.producer_version = ""
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, model.SerializeToString(deterministic=True))
    _logger.info("%s: %.1f MB", path, path.stat().st_size / 1e6)


def _store_weights_as_fp16(model: onnx.ModelProto, statistics: Container[str]) -> None:
    """Halve what is large, but statistics, which divide: a small one has too few digits in fp16."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in statistics:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALLEST_FP16_ELEMENTS:
            continue
        half = f"{tensor.name}.fp16"
        casts.append(
            helper.make_node("Cast", [half], [tensor.name], f"{half}.cast", to=TensorProto.FLOAT)
        )
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def _drop_traces(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes: they hold source paths of this machine, and weigh megabytes."""
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    model.doc_string = ""
    model.graph.doc_string = ""
