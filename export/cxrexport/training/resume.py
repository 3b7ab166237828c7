"""Resuming: a run that was cut off goes on as it would have gone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import CheckpointLoader
from rich.console import Console
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


def reseed_each_epoch(trainer: SupervisedTrainer, films: Dataset, seed: int) -> None:
    """Draw each epoch's order and augmentations from the seed and the epoch's own number."""

    def reseed(engine: SupervisedTrainer) -> None:
        epoch_seed = (seed * 10_007 + engine.state.epoch) % 2**31
        torch.manual_seed(epoch_seed)
        engine.data_loader.sampler.seed = epoch_seed
        films.transform.set_random_state(seed=epoch_seed)

    trainer.add_event_handler(Events.EPOCH_STARTED, reseed)


def save_state(folder: NetworkFolder, resumable: Mapping[str, Any]) -> None:
    """Write what resuming needs, whole or not at all: MONAI's saver may leave half a file."""
    beside = folder.state.with_suffix(".part")
    torch.save({name: part.state_dict() for name, part in resumable.items()}, beside)
    beside.replace(folder.state)


def resume(
    folder: NetworkFolder,
    trainer: SupervisedTrainer,
    resumable: Mapping[str, Any],
    console: Console,
) -> None:
    """Go back to the last whole epoch, if there is one; drop what was written after it."""
    if not folder.state.is_file():
        folder.history.unlink(missing_ok=True)
        return
    CheckpointLoader(str(folder.state), dict(resumable), map_location="cpu")(trainer)
    # An epoch whose line was written but whose state was not is trained again.
    kept = folder.epochs()[: trainer.state.epoch]
    folder.history.write_text("".join(json.dumps(row) + "\n" for row in kept))
    console.print(f"Resuming after epoch {trainer.state.epoch}.")
