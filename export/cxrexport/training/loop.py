"""The training loop that all networks share: MONAI's trainer, resumable, keeping the best epoch."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import TensorBoardStatsHandler
from rich.console import Console
from torch import nn

from cxrclient.files import write_whole
from cxrexport.errors import ManifestError, RecipeError
from cxrexport.training.history import ms_per_film, record_each_epoch, show_progress
from cxrexport.training.learning import (
    average_weights,
    best_epoch,
    lower_rate,
    make_optimizer,
    make_scheduler,
    stalled,
    stop_when_stalled,
    warm_up,
)
from cxrexport.training.mixed_precision import MixedPrecisionInferer, use_bf16
from cxrexport.training.processes import agree, is_first, pick_device, processes, spread
from cxrexport.training.recipe import Recipe
from cxrexport.training.resume import EpochOrder, reseed_each_epoch, resume, save_state
from cxrexport.training.run import Run
from cxrexport.training.task import Films, Scored, Task
from cxrexport.training.validation import judge

__all__ = ["Films", "Task", "fit", "pick_device"]


def fit(task: Task, module: nn.Module, films: Films, run: Run, console: Console) -> dict[str, Any]:
    """Train to the schedule's end, resuming where an earlier call was cut off.

    Each epoch draws its order and its augmentations from the seed and its own number, so a run
    that was cut off continues as it would have gone. Weights that ask for no gradient stay as they
    are. Of several processes (`cxrexport.training.processes`) the first judges and writes.

    Returns:
        The content of `metrics.json`: best epoch, its figures on validation and test, cost.

    Raises:
        RecipeError: a batch cannot be dealt out to the processes.
        ManifestError: there are fewer training films than processes.
    """
    folder, recipe = run.folder(task.network), run.recipe
    schedule = recipe.schedule(task.network)
    if schedule.keep == "last":
        task = replace(task, key="epoch", key_sign=1)
    device = pick_device()
    # ResNets gain a fifth to a quarter on CPUs from channels_last; the U-Net loses as much.
    layout = torch.channels_last if task.channels_last else torch.contiguous_format
    module.to(device).to(memory_format=layout)  # type: ignore[call-overload]  # torch knows it
    trainer = _make_trainer(task, module, films.train, recipe, device)
    steps = len(trainer.data_loader) // trainer.accumulation_steps
    scheduler = make_scheduler(schedule, trainer.optimizer, steps)
    kept = average_weights(trainer, module, schedule)
    warm_up(trainer, module, schedule)
    resumable = {
        "network": module,
        "optimizer": trainer.optimizer,
        "scheduler": scheduler,
        "trainer": trainer,
        **({} if kept is module else {"averaged": kept}),
    }
    resume(folder, trainer, resumable, console)
    reseed_each_epoch(trainer, films.train, recipe.seed)
    record_each_epoch(trainer, task, kept, films.validation, run, console)
    lower_rate(trainer, scheduler, schedule)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: save_state(folder, resumable))
    if is_first():
        TensorBoardStatsHandler(
            log_dir=str(folder.path / "tensorboard"), output_transform=lambda out: out["loss"]
        ).attach(trainer)
    # Ignite starts a finished run over; ours may have been cut off just before its figures.
    ended = agree(lambda: stalled(task, schedule, folder.epochs()))
    if trainer.state.epoch < trainer.state.max_epochs and not ended:
        stop_when_stalled(trainer, task, schedule, folder)
        with show_progress(trainer, task, console):
            trainer.run()
    return agree(lambda: _finish(task, run, films, trainer))


def _make_trainer(
    task: Task, module: nn.Module, films: Dataset, recipe: Recipe, device: torch.device
) -> SupervisedTrainer:
    schedule = recipe.schedule(task.network)
    order = EpochOrder(len(films), schedule.batch_size, schedule.accumulate or 1)
    if schedule.batch_size % processes():
        raise RecipeError(
            f"{task.network}: a batch of {schedule.batch_size} films cannot be dealt out evenly to "
            f"{processes()} processes; start as many as divide it."
        )
    if not len(order):
        raise ManifestError(
            f"{len(films)} training films are too few for {processes()} processes; start fewer."
        )
    loader = DataLoader(
        films,
        batch_size=schedule.batch_size // processes(),
        sampler=order,
        generator=torch.Generator(),  # or each iterator would draw from the global one
    )
    scored = Scored(module, task.scores, norms_kept=schedule.norms is not None)
    network = spread(scored, resting=schedule.warm_up is not None)
    return SupervisedTrainer(
        device=device,
        max_epochs=schedule.epochs,
        train_data_loader=loader,
        network=network,
        optimizer=make_optimizer(schedule, module),
        loss_function=task.loss,
        prepare_batch=task.prepare_batch,
        inferer=MixedPrecisionInferer(bf16=use_bf16(recipe, device)),
        decollate=False,
        optim_set_to_none=True,
        accumulation_steps=min(schedule.accumulate or 1, len(loader)),
    )


def _finish(task: Task, run: Run, films: Films, trainer: SupervisedTrainer) -> dict[str, Any]:
    """Score the best epoch on validation and test; write metrics.json; drop the resume state."""
    folder, device = run.folder(task.network), trainer.state.device
    best = run.load(task.network, unfinished=True).to(device)
    figures: dict[str, dict[str, float] | None] = {}
    for split in ("validation", "test"):
        dataset: Dataset = getattr(films, split)
        batch_size = run.recipe.schedule(task.network).batch_size
        figures[split] = (
            {"n": len(dataset), **judge(task, best, dataset, batch_size, device)}
            if len(dataset)
            else None
        )
    epochs = folder.epochs()
    seconds = sum(row["seconds"] for row in epochs) / len(epochs)
    metrics = {
        "network": task.network,
        "recipe": run.recipe.name,
        "recipe_digest": run.recipe.digest_of(task.network),
        "preprocessing_digest": run.recipe.spec.digest,
        "films": {name: len(getattr(films, name)) for name in ("train", "validation", "test")},
        "epochs": len(epochs),
        "best_epoch": best_epoch(task, epochs)["epoch"],
        "chosen_by": task.key,
        **figures,
        "seconds_per_epoch": round(seconds, 2),
        "ms_per_film": round(ms_per_film(seconds, trainer), 2),
        "device": str(device),
    }
    write_whole(folder.metrics, json.dumps(metrics, indent=2) + "\n")
    folder.state.unlink(missing_ok=True)
    return metrics
