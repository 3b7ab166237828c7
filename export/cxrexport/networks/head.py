"""The decision head: pooled features → 512 → 128 (the embedding) → 2, and its exact Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from cxrexport.networks.layout import Pooling

HIDDEN_SIZE = 512
EMBEDDING_SIZE = 128
POSITIVE = 1
EMPTY = 1e-3
"""A lung map whose mean is not above this is empty: 65 whole pixels at 256 px (docs/adr/0021)."""


class Classified(NamedTuple):
    """What the head makes of N pooled feature vectors."""

    logits: torch.Tensor
    """float [N, 2]: negative, positive."""
    embedding: torch.Tensor
    """float [N, 128], ≥ 0: the layer before the output."""
    gradient: torch.Tensor
    """float [N, F]: of the positive logit with respect to the pooled features."""


class HeadOutput(NamedTuple):
    """What the head says of a batch of N films."""

    logits: torch.Tensor
    """float [N, 2]: negative, positive."""
    embedding: torch.Tensor
    """float [N, 128], ≥ 0: the layer before the output."""
    cam: torch.Tensor
    """float [N, h, w], ≥ 0: Grad-CAM of the positive logit on the pooled last maps, in logits."""


class Head(nn.Module):
    """Three fully connected layers on pooled feature maps.

    The study's supplement flattens the maps; at 1024 px ResNet50's first layer would then need
    over a billion weights, so we average over space (docs/adr/0004), or over the lungs
    (docs/adr/0021). The widths 512 and 128 are ours, and do not shrink with a narrower backbone.

    Because everything between the maps and a logit is linear but for two ReLUs, the gradient that
    Grad-CAM asks for is a product of the three weight matrices with the units that are on. It is
    written out as ordinary operations, so that every runtime gives the same map without autograd.

    Grad-CAM looks at the last maps as the plain average takes them in: with lung pooling, weighted
    by the lungs. So it shows nothing where the network reads nothing (docs/adr/0021).

    Args:
        channels: of each map that is read, the last part's last.
        pooling: `average`, `lung` or `both`.
        standardised: whether pooled features are shifted by `mean` and divided by `scale`, which
            are 0 and 1 until training sets them.

    Source: Grad-CAM, Selvaraju et al., ICCV 2017, equations 1 and 2.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, channels: Sequence[int], pooling: Pooling = "average", *, standardised: bool = False
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.pooling, self.standardised = pooling, standardised
        features = sum(channels) * (2 if pooling == "both" else 1)
        self.fc1 = nn.Linear(features, HIDDEN_SIZE)
        self.fc2 = nn.Linear(HIDDEN_SIZE, EMBEDDING_SIZE)
        self.fc3 = nn.Linear(EMBEDDING_SIZE, 2)
        for layer in (self.fc1, self.fc2):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        if standardised:
            self.register_buffer("mean", torch.zeros(features))
            self.register_buffer("scale", torch.ones(features))

    def forward(self, maps: Sequence[torch.Tensor], lungs: torch.Tensor) -> HeadOutput:
        """Classify feature maps.

        Args:
            maps: float [N, C, h, w] each, of as many parts as the head reads; the last one's last.
            lungs: float [N, 1, S, S], probability of lung.
        """
        logits, embedding, gradient = self.classify(self.pool(maps, lungs))
        return HeadOutput(logits, embedding, self._cam(maps[-1], lungs, gradient))

    def pool(self, maps: Sequence[torch.Tensor], lungs: torch.Tensor) -> torch.Tensor:
        """Reduce maps and lungs as in `forward` to float [N, F]; see `pool_maps`."""
        return pool_maps(maps, lungs, self.pooling)

    def classify(self, pooled: torch.Tensor) -> Classified:
        """Decide on what `pool` gave, float [N, F]."""
        if self.standardised:
            pooled = (pooled - self.mean) / self.scale
        before1 = self.fc1(pooled)
        before2 = self.fc2(torch.relu(before1))
        embedding = torch.relu(before2)
        logits = self.fc3(embedding)

        gradient = self.fc3.weight[POSITIVE] * (before2 > 0)
        gradient = _back(self.fc2, gradient) * (before1 > 0)
        gradient = _back(self.fc1, gradient)
        if self.standardised:
            gradient = gradient / self.scale
        return Classified(logits, embedding, gradient)

    def _cam(self, maps: torch.Tensor, lungs: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Grad-CAM [N, h, w] of the last maps [N, C, h, w], from the pooled features' gradient.

        A lung-weighted mean is the plain mean of maps that are multiplied by each place's share of
        the lungs. These maps are what Grad-CAM weighs; with `both`, they and the maps themselves.
        """
        _, channels, height, width = maps.shape
        ways, places = 2 if self.pooling == "both" else 1, height * width
        if gradient.shape[1] > ways * channels:
            gradient = gradient[:, -ways * channels :]
        summed = torch.matmul(
            gradient.reshape(-1, ways, channels), maps.reshape(-1, channels, places)
        )
        if self.pooling == "average":
            return torch.relu(summed).reshape(-1, height, width) / places
        shares = _shares(lungs, maps).reshape(-1, 1, places)
        if self.pooling == "both":
            shares = torch.cat([torch.full_like(shares, 1 / places), shares], dim=1)
        return torch.relu((summed * shares).sum(dim=1)).reshape(-1, height, width)


def pool_maps(maps: Sequence[torch.Tensor], lungs: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Reduce maps [N, C, h, w] and lungs [N, 1, S, S] to float [N, F].

    Map by map: the average of each channel, then its average weighted by the lungs.
    """
    pooled: list[torch.Tensor] = []
    for each in maps:
        if pooling != "lung":
            pooled.append(each.mean(dim=(2, 3)))
        if pooling != "average":
            pooled.append((each * _shares(lungs, each)).sum(dim=(2, 3)))
    return torch.cat(pooled, dim=1) if len(pooled) > 1 else pooled[0]


def _shares(lungs: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Each place's share of the lungs, [N, 1, h, w], adding up to 1; equal where there are none.

    Args:
        lungs: float [N, 1, S, S].
        maps: float [N, C, h, w], S a multiple of h and w.
    """
    _, _, height, width = maps.shape
    step = lungs.shape[2] // height
    blocks = lungs.reshape(-1, 1, height, step, width, step).mean(dim=(3, 5))
    empty = blocks.mean(dim=(2, 3), keepdim=True) <= EMPTY
    weights = torch.where(empty, 1.0, blocks)
    return weights / weights.sum(dim=(2, 3), keepdim=True)


def _back(layer: nn.Linear, gradient: torch.Tensor) -> torch.Tensor:
    """Gradient [N, out] at a layer's output → [N, in] at its input.

    Written as Wᵀ·g and not g·W: where W is square and feeds both forms, OpenVINO 2026.4.1 takes
    one for the other and gives wrong maps without a word (docs/adr/0004).
    """
    return torch.matmul(layer.weight.t(), gradient.unsqueeze(-1)).squeeze(-1)
