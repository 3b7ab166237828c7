"""Resuming: a run that was cut off goes on as it would have gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch
from ignite.engine import Events
from monai.data import CacheDataset
from monai.engines import SupervisedTrainer
from monai.handlers import CheckpointLoader
from rich.console import Console
from torch import nn
from torch.utils.data import Sampler

from cxrexport.training.run import NetworkFolder

__all__ = ["EpochOrder", "reseed_each_epoch", "resume", "save_state"]


class EpochOrder(Sampler[int]):
    """A random order that follows from its seed alone.

    A generator would not do: Ignite makes the first iterator of a run before the epoch starts and
    the others after, and each iterator draws from it once, so a resumed run would go another way.
    """

    def __init__(self, films: int) -> None:
        self.films, self.seed = films, 0

    def __len__(self) -> int:
        return self.films

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        yield from torch.randperm(self.films, generator=generator).tolist()


def reseed_each_epoch(trainer: SupervisedTrainer, films: CacheDataset, seed: int) -> None:
    """Draw each epoch's order and augmentations from the seed and the epoch's own number."""

    def reseed(engine: SupervisedTrainer) -> None:
        epoch_seed = (seed * 10_007 + engine.state.epoch) % 2**31
        torch.manual_seed(epoch_seed)
        engine.data_loader.sampler.seed = epoch_seed
        films.transform.set_random_state(seed=epoch_seed)

    trainer.add_event_handler(Events.EPOCH_STARTED, reseed)


def _resumable(trainer: SupervisedTrainer, scheduler: Any, module: nn.Module) -> dict[str, Any]:
    return {
        "network": module,
        "optimizer": trainer.optimizer,
        "scheduler": scheduler,
        "trainer": trainer,
    }


def save_state(
    folder: NetworkFolder, trainer: SupervisedTrainer, scheduler: Any, module: nn.Module
) -> None:
    """Write what resuming needs, whole or not at all: MONAI's saver may leave half a file."""
    beside = folder.state.with_suffix(".part")
    state = {k: v.state_dict() for k, v in _resumable(trainer, scheduler, module).items()}
    torch.save(state, beside)
    beside.replace(folder.state)


def resume(
    folder: NetworkFolder,
    trainer: SupervisedTrainer,
    scheduler: Any,
    module: nn.Module,
    console: Console,
) -> None:
    """Go back to the last whole epoch, if there is one; drop what was written after it."""
    if not folder.state.is_file():
        folder.history.unlink(missing_ok=True)
        return
    loader = CheckpointLoader(
        str(folder.state), _resumable(trainer, scheduler, module), map_location="cpu"
    )
    loader(trainer)
    # An epoch whose line was written but whose state was not is trained again.
    kept = folder.epochs()[: trainer.state.epoch]
    folder.history.write_text("".join(json.dumps(row) + "\n" for row in kept))
    console.print(f"Resuming after epoch {trainer.state.epoch}.")
