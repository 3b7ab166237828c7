"""DenseNet121 on [film, lung probability, zeros]: compared, not served."""

from __future__ import annotations

from collections import OrderedDict

import torch
from monai.networks.nets import DenseNet
from torch import nn

from cxrexport.networks.backbones import Backbone, scaled

__all__ = ["DenseNet121Backbone"]

LAYERS = (6, 12, 24, 16)


class DenseNet121Backbone(Backbone):
    """MONAI's two-dimensional DenseNet121 under torchvision's names.

    The study's "CheXpert" row; its architecture is not stated there, the CheXpert paper's is this
    one (Irvin et al., AAAI 2019).

    The mean that the input is normalised with is saved with the weights, unlike the other
    backbones': TorchXRayVision's weights bring their own (`cxrexport.networks.chest_weights`).
    """

    dropped_prefixes = ("classifier.", "op_threshs")

    def __init__(self, width: float) -> None:
        net = DenseNet(
            spatial_dims=2,
            in_channels=3,
            out_channels=2,
            init_features=scaled(64, width),
            growth_rate=scaled(32, width),
            block_config=LAYERS,
        )
        super().__init__(net.features.norm5.num_features)
        self.register_buffer("mean", self.mean, persistent=True)
        for number in range(1, len(LAYERS) + 1):
            block = getattr(net.features, f"denseblock{number}")
            for name, layer in block.named_children():
                setattr(block, name, _DenseLayer(OrderedDict(layer.layers.named_children())))
        self.features = net.features

    def extract(self, stacked: torch.Tensor) -> torch.Tensor:
        """See `Backbone.extract`; the last norm is part of the features, its ReLU is not."""
        return torch.relu(self.features(stacked))


class _DenseLayer(nn.Sequential):
    """MONAI's dense layer without the level `layers` that it puts into every name."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        new = maps
        for step in self:
            new = step(new)
        return torch.cat([maps, new], dim=1)
