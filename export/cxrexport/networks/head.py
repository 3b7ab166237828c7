"""The decision head: pooled features → 512 → 128 (the embedding) → 2, and its exact Grad-CAM."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

__all__ = ["EMBEDDING_SIZE", "Head", "HeadOutput"]

HIDDEN_SIZE = 512
EMBEDDING_SIZE = 128
POSITIVE = 1


class HeadOutput(NamedTuple):
    """What the head says of a batch of N films."""

    logits: torch.Tensor
    """float [N, 2]: negative, positive."""
    embedding: torch.Tensor
    """float [N, 128], ≥ 0: the layer before the output."""
    cam: torch.Tensor
    """float [N, h, w], ≥ 0: Grad-CAM of the positive logit, in logits."""


class Head(nn.Module):
    """Three fully connected layers on globally averaged feature maps.

    The study's supplement flattens the maps; at 1024 px ResNet50's first layer would then need
    over a billion weights, so we average over space (docs/adr/0004). The widths 512 and 128 are
    ours, and do not shrink with a narrower backbone.

    Because everything between the maps and a logit is linear but for two ReLUs, the gradient that
    Grad-CAM asks for is a product of the three weight matrices with the units that are on. It is
    written out as ordinary operations, so that every runtime gives the same map without autograd.

    Source: Grad-CAM, Selvaraju et al., ICCV 2017, equations 1 and 2.
    """

    def __init__(self, feature_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(feature_channels, HIDDEN_SIZE)
        self.fc2 = nn.Linear(HIDDEN_SIZE, EMBEDDING_SIZE)
        self.fc3 = nn.Linear(EMBEDDING_SIZE, 2)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, features: torch.Tensor) -> HeadOutput:
        """Classify feature maps.

        Args:
            features: float [N, C, h, w], the tensor that is pooled.
        """
        pooled = features.mean(dim=(2, 3))
        before1 = self.fc1(pooled)
        before2 = self.fc2(torch.relu(before1))
        embedding = torch.relu(before2)
        logits = self.fc3(embedding)

        gradient = self.fc3.weight[POSITIVE] * (before2 > 0)
        gradient = _back(self.fc2, gradient) * (before1 > 0)
        gradient = _back(self.fc1, gradient)
        return HeadOutput(logits, embedding, _weigh(features, gradient))


def _back(layer: nn.Linear, gradient: torch.Tensor) -> torch.Tensor:
    """Gradient [N, out] at a layer's output → [N, in] at its input.

    Written as Wᵀ·g and not g·W: where W is square and feeds both forms, OpenVINO 2026.4.1 takes
    one for the other and gives wrong maps without a word (docs/adr/0004).
    """
    return torch.matmul(layer.weight.t(), gradient.unsqueeze(-1)).squeeze(-1)


def _weigh(features: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """relu(Σ gradientₖ·featuresₖ) / (h·w): [N, C, h, w] and [N, C] → [N, h, w]."""
    _, channels, height, width = features.shape
    summed = torch.matmul(gradient.unsqueeze(1), features.reshape(-1, channels, height * width))
    return torch.relu(summed).reshape(-1, height, width) / (height * width)
