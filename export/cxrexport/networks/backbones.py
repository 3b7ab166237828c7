"""ResNet34, ResNet50, ResNet152 and VGG16 on [film, lung probability, zeros]."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from monai.networks.nets import ResNet
from torch import nn

from cxrexport.networks.head import Head

__all__ = [
    "MEAN",
    "STD",
    "Backbone",
    "BackboneOutput",
    "ResNetBackbone",
    "VGG16Backbone",
    "scaled",
]

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

    def __init__(self, feature_channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.head = Head(feature_channels)

    @abstractmethod
    def extract(self, stacked: torch.Tensor) -> torch.Tensor:
        """Normalised input [N, 3, S, S] → feature maps [N, C, S/32, S/32], after a ReLU."""

    def forward(self, film: torch.Tensor, lungs: torch.Tensor) -> BackboneOutput:
        """Classify films.

        Args:
            film: float [N, 1, S, S] in 0..1, S a multiple of 32.
            lungs: float [N, 1, S, S], probability of lung.
        """
        stacked = torch.cat([film, lungs, torch.zeros_like(film)], dim=1)
        features = self.extract((stacked - self.mean) / self.std)
        return BackboneOutput(*self.head(features))


class ResNetBackbone(Backbone):
    """MONAI's two-dimensional ResNet, laid out as torchvision's.

    MONAI's defaults differ from He et al. in two places: the first convolution's stride is 1
    (four times the work), and the shortcut's convolution has a bias.
    """

    dropped_prefixes = ("fc.",)

    def __init__(self, block: str, layers: tuple[int, ...], width: float) -> None:
        planes = [scaled(channels, width) for channels in (64, 128, 256, 512)]
        super().__init__(planes[-1] * (4 if block == "bottleneck" else 1))
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

    def extract(self, stacked: torch.Tensor) -> torch.Tensor:
        """See `Backbone.extract`."""
        maps = self.maxpool(self.act(self.bn1(self.conv1(stacked))))
        features: torch.Tensor = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        return features


class VGG16Backbone(Backbone):
    """VGG16's features (configuration D, no batch normalisation), as torchvision numbers them."""

    dropped_prefixes = ("classifier.",)

    def __init__(self, width: float) -> None:
        channels = [scaled(planes, width) for planes in (64, 128, 256, 512, 512)]
        super().__init__(channels[-1])
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

    def extract(self, stacked: torch.Tensor) -> torch.Tensor:
        """See `Backbone.extract`; the last pool is part of the features."""
        features: torch.Tensor = self.features(stacked)
        return features


def scaled(channels: int, width: float) -> int:
    """Channels times the width factor, a multiple of 8 as matrix units like it; at least 8."""
    return max(8, round(channels * width / 8) * 8)
