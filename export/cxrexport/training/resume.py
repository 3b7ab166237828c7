"""Resuming: a run that was cut off goes on as it would have gone."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import CheckpointLoader
from rich.console import Console
from torch.utils.data import Sampler

from cxrclient.files import write_whole
from cxrexport.errors import CheckpointError
from cxrexport.training.processes import is_first, process, processes, wait_for_all
from cxrexport.training.run import NetworkFolder


class EpochOrder(Sampler[int]):
    """A random order that follows from its seed alone, dealt out to the processes.

    A generator would not do: Ignite makes the first iterator of a run before the epoch starts and
    the others after, and each iterator draws from it once, so a resumed run would go another way.

    Args:
        films: how many there are.
        batch: films of one batch, all processes together.
        accumulate: batches of one step.
    """

    def __init__(self, films: int, batch: int, accumulate: int = 1) -> None:
        self.films, self.seed = films, 0
        # Whole steps, or else one step of whole batches, or else one batch of what there is: a
        # last batch of one film would break batch normalisation.
        step = batch * accumulate
        whole = step if films > step else batch if films > batch else processes()
        self.used = films // whole * whole

    def __len__(self) -> int:
        return self.used // processes()

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(self.films, generator=generator).tolist()
        yield from order[process() : self.used : processes()]


def reseed_each_epoch(trainer: SupervisedTrainer, films: Dataset, seed: int) -> None:
    """Draw each epoch's order and augmentations from the seed and the epoch's own number."""

    def reseed(engine: SupervisedTrainer) -> None:
        epoch_seed = (seed * 10_007 + engine.state.epoch) % 2**31
        torch.manual_seed(epoch_seed)
        engine.data_loader.sampler.seed = epoch_seed
        films.reseed(epoch_seed)

    trainer.add_event_handler(Events.EPOCH_STARTED, reseed)


def save_state(folder: NetworkFolder, resumable: Mapping[str, Any]) -> None:
    """Write what resuming needs, whole or not at all: MONAI's saver may leave half a file."""
    if not is_first():
        return
    content = io.BytesIO()  # straight into a file, torch says of a full disk where in its source
    torch.save({name: part.state_dict() for name, part in resumable.items()}, content)
    write_whole(folder.state, content.getbuffer())


def resume(
    folder: NetworkFolder,
    trainer: SupervisedTrainer,
    resumable: Mapping[str, Any],
    console: Console,
) -> None:
    """Go back to the last whole epoch, if there is one; drop what was written after it.

    Raises:
        CheckpointError: what an earlier training left is damaged.
    """
    found = folder.state.is_file()
    if found:
        try:
            CheckpointLoader(str(folder.state), dict(resumable), map_location="cpu")(trainer)
        except (EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f"{folder.state} is damaged; delete {folder.path} and train it again."
            ) from error
        console.print(f"Resuming after epoch {trainer.state.epoch}.")
    if is_first():
        # An epoch whose line was written but whose state was not is trained again.
        kept = folder.epochs()[: trainer.state.epoch] if found else []
        folder.path.mkdir(parents=True, exist_ok=True)
        write_whole(folder.history, "".join(json.dumps(row) + "\n" for row in kept))
    wait_for_all()
