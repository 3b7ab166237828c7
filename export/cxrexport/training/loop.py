"""The training loop that all networks share: MONAI's trainer, resumable, keeping the best epoch."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from ignite.metrics import Metric
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import TensorBoardStatsHandler
from monai.inferers import SimpleInferer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from cxrexport.training.recipe import Recipe, Schedule
from cxrexport.training.resume import EpochOrder, reseed_each_epoch, resume, save_state
from cxrexport.training.run import NetworkFolder, Run

__all__ = ["Films", "ScoreInferer", "Task", "fit", "pick_device"]

_logger = logging.getLogger(__name__)


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
    """(module, *inputs) → what the loss and the metrics take."""
    prepare_batch: Callable[..., Any]
    """MONAI's: (batch, device, …) → (inputs, target) or (inputs, target, args, kwargs)."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    metrics: Callable[[], Mapping[str, Metric]]
    """Fresh metrics by name, over an engine's output."""
    key: str
    """The metric that decides which epoch is kept."""
    key_sign: int
    """+1 where more is better, -1 where less is."""
    channels_last: bool = False
    """Whether the network is faster with the channels innermost."""


class ScoreInferer(SimpleInferer):  # type: ignore[misc]  # MONAI is untyped here
    """Runs a task's scores under bf16 autocast, where the machine has it; returns float32.

    MONAI's own `amp` asks for CUDA; autocast by device type works on CPUs too.
    """

    def __init__(self, scores: Callable[..., torch.Tensor], *, bf16: bool) -> None:
        super().__init__()
        self.scores, self.bf16 = scores, bf16

    def __call__(
        self, inputs: torch.Tensor, network: nn.Module, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Score a batch."""
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.bf16):
            return self.scores(network, inputs, *args, **kwargs).float()


def pick_device() -> torch.device:
    """Use the first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(task: Task, module: nn.Module, films: Films, run: Run, console: Console) -> dict[str, Any]:
    """Train to the schedule's end, resuming where an earlier call was cut off.

    Each epoch draws its order and its augmentations from the seed and its own number, so a run
    that was cut off continues as it would have gone.

    Returns:
        The content of `metrics.json`: best epoch, its figures on validation and test, cost.
    """
    folder, recipe = run.folder(task.network), run.recipe
    device = pick_device()
    # ResNets gain a fifth to a quarter on CPUs from channels_last; the U-Net loses as much.
    layout = torch.channels_last if task.channels_last else torch.contiguous_format
    module.to(device).to(memory_format=layout)  # type: ignore[call-overload]  # torch knows it
    schedule = recipe.schedule(task.network)
    trainer, scheduler = _make_trainer(task, module, films.train, recipe, device)
    kept = _average_weights(trainer, module, schedule)
    resumable = {
        "network": module,
        "optimizer": trainer.optimizer,
        "scheduler": scheduler,
        "trainer": trainer,
        **({} if kept is module else {"averaged": kept}),
    }
    resume(folder, trainer, resumable, console)
    reseed_each_epoch(trainer, films.train, recipe.seed)
    evaluator = _make_evaluator(task, kept, films.validation, recipe, device)
    _record_each_epoch(trainer, evaluator, task, run, kept)
    stepped = Events.EPOCH_COMPLETED if schedule.one_cycle is None else Events.ITERATION_COMPLETED
    trainer.add_event_handler(stepped, lambda _: scheduler.step())
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: save_state(folder, resumable))
    TensorBoardStatsHandler(
        log_dir=str(folder.path / "tensorboard"), output_transform=lambda out: out["loss"]
    ).attach(trainer)
    # Ignite starts a finished run over; ours may have been cut off just before its figures.
    stalled = _stalled(task, schedule, folder.epochs())
    if trainer.state.epoch < trainer.state.max_epochs and not stalled:
        _stop_when_stalled(trainer, task, schedule, folder)
        with _progress(trainer, task, console):
            trainer.run()
    return _finish(task, run, films, device)


def _use_bf16(recipe: Recipe, device: torch.device) -> bool:
    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _make_trainer(
    task: Task, module: nn.Module, films: Dataset, recipe: Recipe, device: torch.device
) -> tuple[SupervisedTrainer, torch.optim.lr_scheduler.LRScheduler]:
    schedule = recipe.schedule(task.network)
    optimizer = _make_optimizer(schedule, module)
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=schedule.epochs,
        train_data_loader=DataLoader(
            films,
            batch_size=schedule.batch_size,
            sampler=EpochOrder(len(films)),
            # A last batch of one film would break batch normalisation.
            drop_last=len(films) > schedule.batch_size,
            generator=torch.Generator(),  # or each iterator would draw from the global one
        ),
        network=module,
        optimizer=optimizer,
        loss_function=task.loss,
        prepare_batch=task.prepare_batch,
        inferer=ScoreInferer(task.scores, bf16=_use_bf16(recipe, device)),
        decollate=False,
        optim_set_to_none=True,
        accumulation_steps=schedule.accumulate or 1,
    )
    return trainer, _make_scheduler(schedule, optimizer, len(trainer.data_loader))


def _average_weights(
    trainer: SupervisedTrainer, module: nn.Module, schedule: Schedule
) -> nn.Module:
    """Give the module that is judged and kept: the one that learns, or its moving average."""
    if schedule.ema is None:
        return module
    average = EMAHandler(module, momentum=1 - schedule.ema, handle_buffers="update")
    average.attach(trainer)
    kept: nn.Module = average.ema_model
    return kept


def _make_scheduler(
    schedule: Schedule, optimizer: torch.optim.Optimizer, batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if schedule.one_cycle is None:
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=schedule.learning_rate_decay)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        schedule.learning_rate,
        total_steps=schedule.epochs * batches + 1,  # it is stepped once more after the last batch
        pct_start=schedule.one_cycle,
    )


def _stalled(task: Task, schedule: Schedule, epochs: list[dict[str, Any]]) -> bool:
    """Whether the best epoch is `patience` epochs ago."""
    if schedule.patience is None or not epochs:
        return False
    best = max(epochs, key=lambda row: (task.key_sign * row[task.key], -row["epoch"]))
    return bool(len(epochs) - best["epoch"] >= schedule.patience)


def _stop_when_stalled(
    trainer: SupervisedTrainer, task: Task, schedule: Schedule, folder: NetworkFolder
) -> None:
    """Stop early; decided from the history, so that a resumed run decides alike."""

    def check(engine: SupervisedTrainer) -> None:
        if _stalled(task, schedule, folder.epochs()):
            _logger.info("%s: no better epoch in %d", task.network, schedule.patience)
            engine.terminate()

    trainer.add_event_handler(Events.EPOCH_COMPLETED, check)


def _make_optimizer(schedule: Schedule, module: nn.Module) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if schedule.optimizer == "adamw" else torch.optim.Adam
    return kind(module.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)


def _make_evaluator(
    task: Task, module: nn.Module, films: Dataset, recipe: Recipe, device: torch.device
) -> SupervisedEvaluator:
    metrics = dict(task.metrics())
    return SupervisedEvaluator(
        device=device,
        val_data_loader=DataLoader(films, batch_size=recipe.schedule(task.network).batch_size),
        network=module,
        prepare_batch=task.prepare_batch,
        inferer=ScoreInferer(task.scores, bf16=False),
        # MONAI attaches the additional metrics only where there is a key metric.
        key_val_metric={task.key: metrics.pop(task.key)},
        additional_metrics=metrics,
        decollate=False,
    )


def _record_each_epoch(
    trainer: SupervisedTrainer,
    evaluator: SupervisedEvaluator,
    task: Task,
    run: Run,
    module: nn.Module,
) -> None:
    folder = run.folder(task.network)
    folder.path.mkdir(parents=True, exist_ok=True)
    losses: list[float] = []
    started = [time.perf_counter()]

    def begin(_: SupervisedTrainer) -> None:
        losses.clear()
        started[0] = time.perf_counter()

    def record(engine: SupervisedTrainer) -> None:
        seconds = time.perf_counter() - started[0]
        evaluator.run()
        row = {
            "epoch": engine.state.epoch,
            "train_loss": sum(losses) / len(losses),
            "learning_rate": engine.optimizer.param_groups[0]["lr"],
            "seconds": round(seconds, 2),
            **{name: float(value) for name, value in evaluator.state.metrics.items()},
        }
        if all(_better(task, row, earlier) for earlier in folder.epochs()):
            run.save(task.network, module, {"epoch": str(row["epoch"])})
        with folder.history.open("a") as file:
            file.write(json.dumps(row) + "\n")
        _logger.info("%s: %s", task.network, row)

    trainer.add_event_handler(Events.EPOCH_STARTED, begin)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"].item())
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, record)


def _better(task: Task, row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(task.key_sign * row[task.key] > task.key_sign * other[task.key])


def _progress(trainer: SupervisedTrainer, task: Task, console: Console) -> Progress:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    total = trainer.state.max_epochs * len(trainer.data_loader)
    item = bar.add_task(
        task.network, total=total, completed=trainer.state.epoch * len(trainer.data_loader)
    )

    def advance(engine: SupervisedTrainer) -> None:
        epoch = f"{task.network} {engine.state.epoch}/{engine.state.max_epochs}"
        loss = engine.state.output["loss"].item()
        bar.update(item, advance=1, description=f"{epoch} loss {loss:.3f}")

    trainer.add_event_handler(Events.ITERATION_COMPLETED, advance)
    return bar


def _finish(task: Task, run: Run, films: Films, device: torch.device) -> dict[str, Any]:
    """Score the best epoch on validation and test; write metrics.json; drop the resume state."""
    folder = run.folder(task.network)
    best = run.load(task.network, unfinished=True).to(device)
    figures: dict[str, dict[str, float] | None] = {}
    for split in ("validation", "test"):
        dataset: Dataset = getattr(films, split)
        if not len(dataset):
            figures[split] = None
            continue
        evaluator = _make_evaluator(task, best, dataset, run.recipe, device)
        evaluator.run()
        figures[split] = {
            "n": len(dataset),
            **{name: float(value) for name, value in evaluator.state.metrics.items()},
        }
    epochs = folder.epochs()
    chosen = max(epochs, key=lambda row: task.key_sign * row[task.key])
    metrics = {
        "network": task.network,
        "recipe": run.recipe.name,
        "recipe_digest": run.recipe.digest_of(task.network),
        "preprocessing_digest": run.recipe.spec.digest,
        "films": {name: len(getattr(films, name)) for name in ("train", "validation", "test")},
        "epochs": len(epochs),
        "best_epoch": chosen["epoch"],
        "chosen_by": task.key,
        **figures,
        "seconds_per_epoch": round(sum(row["seconds"] for row in epochs) / len(epochs), 2),
        "device": str(device),
    }
    folder.metrics.write_text(json.dumps(metrics, indent=2) + "\n")
    folder.state.unlink(missing_ok=True)
    return metrics
