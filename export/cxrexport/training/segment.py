"""Trains the lung U-Net on films with lung masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.losses import DiceCELoss
from monai.metrics import compute_dice
from rich.console import Console
from torch import nn

from cxrexport.training.films import FILM, LUNGS
from cxrexport.training.loop import Films, Task, fit
from cxrexport.training.run import Run, start_afresh, start_from


def start_segment(run: Run, init: Path | None = None) -> nn.Module:
    """Make the U-Net with the weights that it starts from; `init` is another run's folder.

    Raises:
        CheckpointError: that run's lung network cannot be had or does not fit.
        RecipeError: the network was begun from other weights.
    """
    module = run.make("segment")
    if init is None:
        start_afresh("segment", run)
    else:
        start_from(module, "segment", run, init)
    return module


def train_segment(
    run: Run, films: Films, console: Console, module: nn.Module | None = None
) -> dict[str, Any]:
    """Train the U-Net with Dice and cross-entropy; keeps the epoch of the best mean Dice.

    Args:
        run: where to write.
        films: their lung maps are masks.
        console: for progress.
        module: from `start_segment`; None starts from scratch.

    Returns:
        The content of `metrics.json`. Its Dice is at network size; the film's size is measured
        through the server.
    """
    return fit(_task(), module or start_segment(run), films, run, console)


def _task() -> Task:
    return Task(
        network="segment",
        scores=lambda module, film: module.logits(film),
        prepare_batch=_prepare,
        loss=DiceCELoss(sigmoid=True),
        keep=_dice_and_loss,
        figures=_means,
        key="dice",
        key_sign=1,
    )


def _prepare(
    batch: Mapping[str, torch.Tensor], device: torch.device, non_blocking: bool, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    film = batch[FILM].to(device, non_blocking=non_blocking)
    return film, (batch[LUNGS] >= 0.5).float().to(device, non_blocking=non_blocking)


def _dice_and_loss(scores: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Measure each film; float [n] each, Dice NaN where a mask is empty."""
    loss = DiceCELoss(sigmoid=True)
    films = zip(scores, masks, strict=True)
    losses = torch.stack([loss(film[None], mask[None]) for film, mask in films])
    return compute_dice(scores > 0, masks)[:, 0], losses


def _means(dice: torch.Tensor, loss: torch.Tensor) -> dict[str, float]:
    return {"dice": float(dice.nanmean()), "loss": float(loss.mean())}
