"""Trains the lung U-Net on films with lung masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.metrics import Loss, Metric
from monai.handlers import MeanDice
from monai.losses import DiceCELoss
from rich.console import Console

from cxrexport.training.loop import Films, Task, fit
from cxrexport.training.run import Run
from cxrexport.transforms import FILM, LUNGS

__all__ = ["train_segment"]


def train_segment(run: Run, films: Films, console: Console) -> dict[str, Any]:
    """Train the U-Net with Dice and cross-entropy; keeps the epoch of the best mean Dice.

    Args:
        run: where to write.
        films: their lung maps are masks.
        console: for progress.

    Returns:
        The content of `metrics.json`. Its Dice is at network size; the film's size is measured
        through the server.
    """
    return fit(_task(), run.make("segment"), films, run, console)


def _task() -> Task:
    loss = DiceCELoss(sigmoid=True)
    return Task(
        network="segment",
        scores=lambda module, film: module.logits(film),
        prepare_batch=_prepare,
        loss=loss,
        metrics=_metrics,
        key="dice",
        key_sign=1,
    )


def _prepare(
    batch: Mapping[str, torch.Tensor], device: torch.device, non_blocking: bool, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    film = batch[FILM].to(device, non_blocking=non_blocking)
    return film, (batch[LUNGS] >= 0.5).float().to(device, non_blocking=non_blocking)


def _metrics() -> Mapping[str, Metric]:
    return {
        "dice": MeanDice(
            include_background=True,
            output_transform=lambda out: (out["pred"] > 0, out["label"]),
        ),
        "loss": Loss(
            DiceCELoss(sigmoid=True), output_transform=lambda out: (out["pred"], out["label"])
        ),
    }
