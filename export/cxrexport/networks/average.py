"""The members' outputs → probability, members, votes, heatmap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn


class AverageOutput(NamedTuple):
    """What the members say together of a batch of N films."""

    probability: torch.Tensor
    """float [N, 1], of the positive class."""
    members: torch.Tensor
    """float [N, members]: each member's own."""
    votes: torch.Tensor
    """int32 [N, 1]: how many members exceed 0.5."""
    heatmap: torch.Tensor
    """float [N, h, w] in 0..1: the mean of each CAM over its maximum, 0 where that is 0."""


class Average(nn.Module):
    """Mean of the members' softmax (not softmax of the mean logits), each after its temperature.

    Args:
        temperatures: a positive divisor for each member's logits; 1 until calibration fits them
            (Guo et al., ICML 2017).

    Source: the study averages the networks' outputs.
    """

    temperatures: torch.Tensor

    def __init__(self, temperatures: Sequence[float]) -> None:
        super().__init__()
        if not temperatures or min(temperatures) <= 0:
            raise ValueError(f"Need a positive temperature for each member, not {temperatures}.")
        self.register_buffer("temperatures", torch.tensor(temperatures).view(1, -1, 1))

    def forward(self, *logits_then_cams: torch.Tensor) -> AverageOutput:
        """Combine the members.

        Args:
            logits_then_cams: each member's logits float [N, 2], then each one's CAM [N, h, w].

        Raises:
            ValueError: they are not of as many members as there are temperatures.
        """
        if len(logits_then_cams) != 2 * self.temperatures.shape[1]:
            raise ValueError(f"{len(logits_then_cams)} tensors are not two for each temperature.")
        half = len(logits_then_cams) // 2
        logits = torch.stack(logits_then_cams[:half], dim=1)
        members = torch.softmax(logits / self.temperatures, dim=2)[:, :, 1]
        probability = members.mean(dim=1, keepdim=True)
        votes = (members > 0.5).sum(dim=1, keepdim=True).to(torch.int32)
        cams = torch.stack(logits_then_cams[half:], dim=1)
        peak = cams.amax(dim=(2, 3), keepdim=True)
        heatmap = (cams / torch.clamp(peak, min=torch.finfo(torch.float32).tiny)).mean(dim=1)
        return AverageOutput(probability, members, votes, heatmap)
