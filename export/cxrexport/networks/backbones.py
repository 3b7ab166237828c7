"""ResNet34, ResNet50, ResNet152 and VGG16 on [film, lung probability, zeros]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from monai.networks.nets import ResNet
from torch import nn

from cxrexport.networks.head import Head
from cxrexport.networks.layout import Design, Layout

# ImageNet's mean and deviation for the film and the lung map, so that pretrained features meet
# inputs in the range they know; (0 - 0) / 1 leaves the third channel at zero, as the study wants.
MEAN = (0.485, 0.456, 0.0)
STD = (0.229, 0.224, 1.0)


class BackboneOutput(NamedTuple):
    """What one network says of a batch of N films of size S."""

    logits: torch.Tensor
    """float [N, 2]: negative, positive."""
    embedding: torch.Tensor
    """float [N, 128]."""
    cam: torch.Tensor
    """float [N, S/32, S/32]: Grad-CAM of the positive logit."""


class Backbone(nn.Module, ABC):
    """A feature extractor with the decision head.

    Parameters outside `head` have torchvision's names, and at width 1.0 its shapes, so that its
    ImageNet checkpoints load strictly once their classifier is dropped.
    """

    dropped_prefixes: tuple[str, ...] = ()
    """Keys of a torchvision checkpoint that belong to its classifier."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, channels: Sequence[int], design: Design) -> None:
        """Make what all backbones share.

        Args:
            channels: of the maps that the parts give, the last part's last.
            design: what it sees and what its head reads.
        """
        super().__init__()
        self.design = design
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        read = channels[-design.stages :]
        self.head = Head(read, design.pooling, standardised=design.standardised)

    @property
    @abstractmethod
    def parts(self) -> tuple[nn.Module, ...]:
        """The five parts, from the input on, each of which ends with a ReLU or a pool behind one.

        The last two give maps of S/16 and S/32 for films of size S.
        """

    def enter(self, film: torch.Tensor, lungs: torch.Tensor) -> torch.Tensor:
        """Film and lungs as in `forward` → [N, 3, S, S], normalised: what the first part takes."""
        if self.design.masked:
            film = film * lungs
        stacked = torch.cat([film, lungs, torch.zeros_like(film)], dim=1)
        return (stacked - self.mean) / self.std

    def through(self, maps: torch.Tensor, first: int, last: int) -> torch.Tensor:
        """Run the parts from `first` to before `last`, counted from 0."""
        for part in self.parts[first:last]:
            maps = part(maps)
        return maps

    def extract(self, maps: torch.Tensor, first: int = 0) -> tuple[torch.Tensor, ...]:
        """Run the parts from `first` on, and keep the maps that the head reads.

        Args:
            maps: what that part takes: for the first one what `enter` gives, for another what the
                part before it gave, which counts among the maps that are read.
            first: a part, counted from 0.

        Returns:
            float [N, C, h, w] each, ≥ 0; the last part's last.
        """
        seen = [maps]
        for number in range(first, len(self.parts)):
            seen.append(self.through(seen[-1], number, number + 1))
        return tuple(seen[-self.design.stages :])

    def decide(self, maps: Sequence[torch.Tensor], lungs: torch.Tensor) -> BackboneOutput:
        """Classify what `extract` gave; lungs as in `forward`."""
        return BackboneOutput(*self.head(maps, lungs))

    def forward(self, film: torch.Tensor, lungs: torch.Tensor) -> BackboneOutput:
        """Classify films.

        Args:
            film: float [N, 1, S, S] in 0..1, S a multiple of 32.
            lungs: float [N, 1, S, S], probability of lung.
        """
        return self.decide(self.extract(self.enter(film, lungs)), lungs)


class ResNetBackbone(Backbone):
    """MONAI's two-dimensional ResNet, laid out as torchvision's.

    MONAI's defaults differ from He et al. in two places: the first convolution's stride is 1
    (four times the work), and the shortcut's convolution has a bias.
    """

    dropped_prefixes = ("fc.",)

    def __init__(self, block: str, layers: tuple[int, ...], width: float, design: Design) -> None:
        planes = [scaled(channels, width) for channels in (64, 128, 256, 512)]
        expansion = 4 if block == "bottleneck" else 1
        super().__init__([each * expansion for each in planes], design)
        net = ResNet(
            block=block,
            layers=list(layers),
            block_inplanes=planes,
            spatial_dims=2,
            n_input_channels=3,
            conv1_t_size=7,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        self.conv1, self.bn1, self.act, self.maxpool = net.conv1, net.bn1, net.act, net.maxpool
        self.layer1, self.layer2 = net.layer1, net.layer2
        self.layer3, self.layer4 = net.layer3, net.layer4
        self._lay_out(design.layout)

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """See `Backbone.parts`."""
        stem = nn.Sequential(self.conv1, self.bn1, self.act, self.maxpool)
        return stem, self.layer1, self.layer2, self.layer3, self.layer4

    def _lay_out(self, layout: Layout) -> None:
        if layout.stem is not None:
            self._widen_stem(layout.stem)
        if layout.stride == "first":
            for block in (self.layer2[0], self.layer3[0], self.layer4[0]):
                if hasattr(block, "conv3"):
                    block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
        if layout.pool == "end":
            # Of maps of even size, rounding up is one pixel of padding below and right.
            self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)

    def _widen_stem(self, channels: int) -> None:
        """Give the first convolution so many channels, and what reads it as many inputs."""
        self.conv1 = _with_channels(self.conv1, out=channels)
        self.bn1 = nn.BatchNorm2d(channels)
        block = self.layer1[0]
        block.conv1 = _with_channels(block.conv1, into=channels)
        if block.downsample is not None:
            block.downsample[0] = _with_channels(block.downsample[0], into=channels)
        elif channels != block.conv1.out_channels:
            planes = block.conv1.out_channels
            block.downsample = nn.Sequential(
                nn.Conv2d(channels, planes, kernel_size=1, bias=False), nn.BatchNorm2d(planes)
            )


class VGG16Backbone(Backbone):
    """VGG16's features (configuration D, no batch normalisation), as torchvision numbers them."""

    dropped_prefixes = ("classifier.",)

    def __init__(self, width: float, design: Design) -> None:
        channels = [scaled(planes, width) for planes in (64, 128, 256, 512, 512)]
        super().__init__(channels, design)
        layers: list[nn.Module] = []
        previous = 3
        for planes, convolutions in zip(channels, (2, 2, 3, 3, 3), strict=True):
            for _ in range(convolutions):
                convolution = nn.Conv2d(previous, planes, kernel_size=3, padding=1)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_in", nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # bias=True
                layers += [convolution, nn.ReLU(inplace=True)]
                previous = planes
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """See `Backbone.parts`; each ends with its pool, the last one too."""
        ends = [i + 1 for i, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        starts = [0, *ends[:-1]]
        return tuple(self.features[a:b] for a, b in zip(starts, ends, strict=True))


def scaled(channels: int, width: float) -> int:
    """Channels times the width factor, a multiple of 8 as matrix units like it; at least 8."""
    return max(8, round(channels * width / 8) * 8)


def _with_channels(
    convolution: nn.Conv2d, *, into: int | None = None, out: int | None = None
) -> nn.Conv2d:
    """A fresh convolution like this one with other numbers of channels."""
    changed = nn.Conv2d(
        into or convolution.in_channels,
        out or convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]  # two numbers
        convolution.stride,  # type: ignore[arg-type]
        convolution.padding,  # type: ignore[arg-type]
        bias=False,
    )
    nn.init.kaiming_normal_(changed.weight, mode="fan_out", nonlinearity="relu")
    return changed
