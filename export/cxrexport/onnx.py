"""Networks → ONNX graphs: small weights, fp32 arithmetic, names as the ensemble knows them."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cxrclient.files import write_whole
from cxrexport.light_start import without_collection
from cxrexport.repository import Edges, Weights
from cxrexport.stored_weights import rounded, store

_logger = logging.getLogger(__name__)

OPSET = 18


def random_inputs(edges: Edges, batch: int, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Draw inputs of a graph, uniform in 0..1, float32, for tracing and parity."""
    generator = np.random.default_rng(seed)
    return {
        tensor.name: generator.random((batch, *tensor.dims), dtype=np.float32)
        for tensor in edges.inputs
    }


def round_weights(module: nn.Module, weights: Weights = "fp16") -> nn.Module:
    """Return a copy for inference: batch norm folded, large weights rounded to what is stored.

    This is what the graph computes with. Folding comes first because the exporter would fold too,
    after the rounding, and the graph's weights would then be rounded twice.
    """
    copied = copy.deepcopy(module).eval()
    _fold_batch_norm(copied)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.copy_(torch.from_numpy(rounded(parameter.detach().numpy(), weights)))
    return copied


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


def export_graph(
    module: nn.Module,
    edges: Edges,
    path: Path,
    metadata: Mapping[str, str],
    weights: Weights = "fp16",
) -> None:
    """Write a module as ONNX with a free batch axis.

    Large weights are stored in fewer bytes and unfolded to fp32 inside the graph: a smaller file,
    and the same arithmetic as `round_weights(module, weights)` in torch.

    Args:
        module: takes the inputs in order, returns the outputs in order.
        edges: the graph's tensors.
        path: the file to write; appears whole or not at all.
        metadata: strings stored in the model (digests, recipe).
        weights: how large ones are stored.
    """
    computed = round_weights(module, weights)
    batch = torch.export.Dim("batch", min=1, max=64)
    inputs = random_inputs(edges, batch=2)
    example = tuple(torch.from_numpy(array) for array in inputs.values())
    axes: Any = tuple({0: batch} for _ in example)
    if any(
        p.kind is p.VAR_POSITIONAL for p in inspect.signature(computed.forward).parameters.values()
    ):
        axes = (axes,)  # torch.export wants *args as one nested tuple
    with torch.no_grad(), without_collection():
        program = torch.onnx.export(
            computed,
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
    store(model, weights)
    _drop_traces(model)
    helper.set_model_props(model, dict(metadata))
    model.producer_name = "cxr-triton"
    model.producer_version = ""
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, model.SerializeToString(deterministic=True))
    _logger.info("%s: %.1f MB", path, path.stat().st_size / 1e6)


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
