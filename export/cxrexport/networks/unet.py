"""The lung U-Net: a film in, the probability of lung at each pixel out."""

from __future__ import annotations

import torch
from monai.networks.nets import UNet
from torch import nn

CHANNELS = (32, 64, 128, 256, 512)


class LungUNet(nn.Module):
    """MONAI's UNet, 32..512 channels, without residual units (2.64 million weights).

    Instance normalisation, MONAI's default, makes a film's map independent of the films beside
    it in a batch, in training too.

    Source: the study says "a U-Net"; the layout is ARCHITECTURE.md's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unet = UNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=1,
            channels=CHANNELS,
            strides=(2,) * (len(CHANNELS) - 1),
            num_res_units=0,
        )

    def logits(self, film: torch.Tensor) -> torch.Tensor:
        """Score before the sigmoid; what the loss is computed on.

        Args:
            film: float [N, 1, S, S] in 0..1, S a multiple of 16.

        Returns:
            float [N, 1, S, S].
        """
        scores: torch.Tensor = self.unet(film)
        return scores

    def forward(self, film: torch.Tensor) -> torch.Tensor:
        """Probability of lung, [N, 1, S, S] in 0..1, for a film as in `logits`."""
        return torch.sigmoid(self.logits(film))
