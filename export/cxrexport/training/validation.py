"""Scores a split, in float32 whatever the training's precision."""

from __future__ import annotations

import torch
from monai.data import DataLoader, Dataset
from torch import nn

from cxrexport.training.mixed_precision import MixedPrecisionInferer
from cxrexport.training.task import Scored, Task


def judge(
    task: Task, module: nn.Module, films: Dataset, batch_size: int, device: torch.device
) -> dict[str, float]:
    """Give a network's figures on a split.

    MONAI's evaluator would gather its metrics from all processes of a training; only the first
    judges, while the others wait.

    Args:
        task: says how to score and what to measure.
        module: the network, on `device`; is in evaluation mode afterwards.
        films: the split, at least one film.
        batch_size: films at once.
        device: where the network is.
    """
    scored = Scored(module, task.scores).eval()
    infer = MixedPrecisionInferer(bf16=False)
    kept = []
    with torch.inference_mode():
        for batch in DataLoader(films, batch_size=batch_size):
            inputs, target, *rest = task.prepare_batch(batch, device, non_blocking=False)
            scores = infer(inputs, scored, *(rest[0] if rest else ()))
            kept.append([part.cpu() for part in task.keep(scores, target)])
        return task.figures(*(torch.cat(parts) for parts in zip(*kept, strict=True)))
