"""The four networks' outputs → probability, members, votes, heatmap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from cxrexport.networks.backbones import BACKBONES

__all__ = ["AVERAGE_INPUTS", "Average"]

AVERAGE_INPUTS = tuple(
    f"{tensor}_{name.upper()}" for tensor in ("LOGITS", "CAM") for name in BACKBONES
)
"""Names of `Average.forward`'s arguments, in order."""


class Average(nn.Module):
    """Mean of the members' softmax (not softmax of the mean logits), each after its temperature.

    Source: the study averages the networks' outputs; temperatures are 1 until calibration fits
    them (Guo et al., ICML 2017).
    """

    temperatures: torch.Tensor

    def __init__(self, temperatures: Sequence[float] = (1.0,) * len(BACKBONES)) -> None:
        super().__init__()
        if len(temperatures) != len(BACKBONES) or min(temperatures) <= 0:
            raise ValueError(f"Need {len(BACKBONES)} positive temperatures, not {temperatures}.")
        self.register_buffer("temperatures", torch.tensor(temperatures).view(1, -1, 1))

    def forward(
        self, *logits_then_cams: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Combine the members.

        Args:
            logits_then_cams: as `AVERAGE_INPUTS`: four logits float [N, 2], four CAM [N, h, w].

        Returns:
            probability float [N, 1] of the positive class; members float [N, 4]; votes int32
            [N, 1], how many members exceed 0.5; heatmap float [N, h, w] in 0..1, the mean of each
            CAM over its maximum (0 where the maximum is 0).
        """
        half = len(logits_then_cams) // 2
        logits = torch.stack(logits_then_cams[:half], dim=1)
        members = torch.softmax(logits / self.temperatures, dim=2)[:, :, 1]
        probability = members.mean(dim=1, keepdim=True)
        votes = (members > 0.5).sum(dim=1, keepdim=True).to(torch.int32)
        cams = torch.stack(logits_then_cams[half:], dim=1)
        peak = cams.amax(dim=(2, 3), keepdim=True)
        heatmap = (cams / torch.clamp(peak, min=torch.finfo(torch.float32).tiny)).mean(dim=1)
        return probability, members, votes, heatmap
