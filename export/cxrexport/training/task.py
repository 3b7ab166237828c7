"""What a training is about: the films, and what differs between segmenting and classifying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import Dataset
from torch import nn


@dataclass(frozen=True)
class Films:
    """Cached films of each split; `train` augments on the fly."""

    train: Dataset
    validation: Dataset
    test: Dataset


@dataclass(frozen=True)
class Task:
    """What differs between segmenting and classifying."""

    network: str
    scores: Callable[..., torch.Tensor]
    """(module, *inputs) → what the loss takes."""
    prepare_batch: Callable[..., Any]
    """MONAI's: (batch, device, …) → (inputs, target) or (inputs, target, args, kwargs)."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    keep: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]
    """(scores, target) of a batch → what `figures` needs of it; the first axis is the films."""
    figures: Callable[..., dict[str, float]]
    """`keep`'s tensors of all films → figures by name."""
    key: str
    """The figure that decides which epoch is kept."""
    key_sign: int
    """+1 where more is better, -1 where less is."""
    channels_last: bool = False
    """Whether the network is faster with the channels innermost."""


class Scored(nn.Module):
    """A network under its task's scores: what the trainer calls, in one process or in several.

    Parts none of whose weights learn stay in evaluation mode while the others train, so that
    their batch norms keep their statistics too.

    Args:
        module: the network.
        scores: of its task.
        norms_kept: whether batch norms keep their statistics where they learn, too.
    """

    def __init__(
        self, module: nn.Module, scores: Callable[..., torch.Tensor], *, norms_kept: bool = False
    ) -> None:
        super().__init__()
        self.module, self.scores, self.norms_kept = module, scores, norms_kept

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Score a batch."""
        return self.scores(self.module, *inputs)

    def train(self, mode: bool = True) -> Scored:
        """Set the mode of what learns; see the class."""
        super().train(mode)
        if mode:
            self._rest(self.module)
        return self

    def _rest(self, module: nn.Module) -> None:
        """Put into evaluation mode what keeps its statistics."""
        for part in module.children():
            weights = list(part.parameters())
            frozen = weights and not any(weight.requires_grad for weight in weights)
            if frozen or (self.norms_kept and isinstance(part, nn.modules.batchnorm._BatchNorm)):
                part.eval()
            elif weights:
                self._rest(part)
