"""Published networks become ours: VGG16 and the half-width ResNet50, from their ONNX graphs.

What they tell apart is dropped with their classifiers. They took colour pictures; a film is grey,
so it goes in through the film channel, with their scale and mean folded into the first
convolution. The lung map and the zeros start at weight zero. The norms of the ResNet are folded
into its convolutions; here they only add its biases, until `refit_norms` gives them statistics.

Past the film's edge a convolution sees one zero where they had three, of blue, green and red:
channels of the last two stages correlate 0.999 with theirs, not 1 (docs/adr/0022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import nn

from cxrexport.errors import CheckpointError
from cxrexport.networks import Backbone, Layout, make_backbone
from cxrexport.networks.backbones import MEAN, STD
from cxrexport.weights.sources import Wheel

Convolution: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""Weight [out, in, k, k] and bias [out]."""

HALF = 0.5
"""Width of that ResNet50."""
HALF_LAYOUT = Layout(stem=64, stride="first", pool="end")
"""64 first filters in spite of its width; strides and pool padding are Caffe's."""


def convolutions_of(graph: bytes, wheel: Wheel) -> list[Convolution]:
    """Every convolution of a wheel's ONNX graph, the first one on [film, lungs, zeros].

    Raises:
        CheckpointError: it is no ONNX graph.
    """
    try:
        model = onnx.load_model_from_string(graph).graph
    except DecodeError as error:
        raise CheckpointError(f"{wheel.member} of {wheel.package} is no ONNX graph.") from error
    arrays = {each.name: each for each in model.initializer}
    found = []
    for node in model.node:
        if node.op_type == "Conv":
            weight, bias = (
                torch.from_numpy(numpy_helper.to_array(arrays[name]).copy())
                for name in node.input[1:]
            )
            found.append((weight, bias))
    return [_on_our_input(*found[0], wheel.mean), *found[1:]] if found else []


def vgg16(convolutions: Sequence[Convolution]) -> Backbone:
    """VGG16 of full width with these convolutions.

    Raises:
        CheckpointError: they are not a VGG16's.
    """
    net = make_backbone("vgg16").eval()
    ours = [each for each in net.features if isinstance(each, nn.Conv2d)]  # type: ignore[union-attr]
    _check_shapes(convolutions, ours, "VGG16")
    for convolution, (weight, bias) in zip(ours, convolutions, strict=True):
        convolution.weight.data, convolution.bias.data = weight, bias  # type: ignore[union-attr]
    return net


def half_resnet50(convolutions: Sequence[Convolution]) -> Backbone:
    """ResNet50 of half width, in the layout that it learnt in, with these convolutions.

    Raises:
        CheckpointError: they are not such a ResNet50's.
    """
    net = make_backbone("resnet50", HALF, layout=HALF_LAYOUT).eval()
    ours = list(pairs(net))
    _check_shapes(convolutions, [pair[0] for pair in ours], "a ResNet50 of half width")
    for (convolution, norm), (weight, bias) in zip(ours, convolutions, strict=True):
        set_pair(convolution, norm, weight, bias)
    return net


def pairs(net: Backbone) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """A ResNet's convolutions with their norms, in the order of the graph: shortcuts come first."""
    yield net.conv1, net.bn1  # type: ignore[misc]  # of a ResNetBackbone
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        for block in layer:  # type: ignore[union-attr]
            if block.downsample is not None:
                yield tuple(block.downsample)
            for i in (1, 2, 3):
                if hasattr(block, f"conv{i}"):
                    yield getattr(block, f"conv{i}"), getattr(block, f"bn{i}")


def set_pair(
    convolution: nn.Conv2d, norm: nn.BatchNorm2d, weight: torch.Tensor, bias: torch.Tensor
) -> None:
    """Let a convolution and its norm compute `weight * x + bias`: the norm only adds the bias."""
    convolution.weight.data = weight.float().reshape(convolution.weight.shape).contiguous()
    nn.init.constant_(norm.weight, (1 + norm.eps) ** 0.5)
    norm.bias.data = bias.float().clone()
    norm.reset_running_stats()


def _on_our_input(
    weight: torch.Tensor, bias: torch.Tensor, mean: tuple[float, float, float]
) -> Convolution:
    """A convolution of blue, green, red of 0..255 minus mean, on a film as `Backbone.enter` gives.

    Each of the three was 255 · film - mean, and the film is STD · x + MEAN of what comes in.
    """
    offset = torch.tensor([255 * MEAN[0] - each for each in mean]).view(1, 3, 1, 1)
    film = 255 * STD[0] * weight.sum(1, keepdim=True)
    nothing = torch.zeros_like(film)
    return torch.cat([film, nothing, nothing], 1), bias + (weight * offset).sum((1, 2, 3))


def _check_shapes(theirs: Sequence[Convolution], ours: Sequence[nn.Conv2d], what: str) -> None:
    there = [tuple(weight.shape) for weight, _ in theirs]
    here = [tuple(each.weight.shape) for each in ours]
    if there != here:
        differ = [f"{a} in place of {b}" for a, b in zip(there, here, strict=False) if a != b]
        raise CheckpointError(
            f"The graph is not {what}: it has {len(there)} convolutions of {len(here)}"
            + (f", {differ[0]}" if differ else "")
            + ". Use the file that `cxrexport weights fetch` downloads."
        )
