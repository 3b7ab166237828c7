"""DenseNet121 on [film, lung probability, zeros]: compared, not served."""

from __future__ import annotations

from collections import OrderedDict

import torch
from monai.networks.nets import DenseNet
from torch import nn

from cxrexport.networks.backbones import Backbone, scaled
from cxrexport.networks.layout import Design

LAYERS = (6, 12, 24, 16)


class DenseNet121Backbone(Backbone):
    """MONAI's two-dimensional DenseNet121 under torchvision's names.

    The study's "CheXpert" row; its architecture is not stated there, the CheXpert paper's is this
    one (Irvin et al., AAAI 2019).

    The mean that the input is normalised with is saved with the weights, unlike the other
    backbones': TorchXRayVision's weights bring their own (`cxrexport.weights`).
    """

    dropped_prefixes = ("classifier.", "op_threshs")

    def __init__(self, width: float, design: Design) -> None:
        net = DenseNet(
            spatial_dims=2,
            in_channels=3,
            out_channels=2,
            init_features=scaled(64, width),
            growth_rate=scaled(32, width),
            block_config=LAYERS,
        )
        norms = (net.features.transition3.norm, net.features.norm5)
        super().__init__([norm.num_features for norm in norms], design)
        self.register_buffer("mean", self.mean, persistent=True)
        for number in range(1, len(LAYERS) + 1):
            block = getattr(net.features, f"denseblock{number}")
            for name, layer in block.named_children():
                setattr(block, name, _DenseLayer(OrderedDict(layer.layers.named_children())))
        self.features = net.features

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """See `Backbone.parts`; the norm and ReLU behind a block belong to it, its halving not."""
        steps = dict(self.features.named_children())
        parts: list[list[nn.Module]] = [[]]
        for name, step in steps.items():
            if name.startswith("transition"):
                parts[-1] += [step.norm, step.relu]
                parts.append([step.conv, step.pool])
            else:
                parts[-1].append(step)
            if name == "pool0":
                parts.append([])
        parts[-1].append(nn.ReLU())
        return tuple(nn.Sequential(*part) for part in parts)


class _DenseLayer(nn.Sequential):
    """MONAI's dense layer without the level `layers` that it puts into every name."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        new = maps
        for step in self:
            new = step(new)
        return torch.cat([maps, new], dim=1)
