"""How a network learns: the optimiser, its rate, the weights that are kept, when it stops."""

from __future__ import annotations

import logging
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import EMAHandler
from monai.engines import SupervisedTrainer
from torch import nn

from cxrexport.networks import Backbone
from cxrexport.training.processes import agree
from cxrexport.training.run import NetworkFolder
from cxrexport.training.schedule import HEAD, PARTS, Schedule
from cxrexport.training.task import Task

_logger = logging.getLogger(__name__)


def make_optimizer(schedule: Schedule, module: nn.Module) -> torch.optim.Optimizer:
    """Build the schedule's optimiser for the weights that learn.

    Where parts have rates of their own each part is a group; the head's is the first, and its rate
    is the one that the history tells.
    """
    kind = torch.optim.AdamW if schedule.optimizer == "adamw" else torch.optim.Adam
    rate = schedule.learning_rate
    groups: list[dict[str, Any]] = [{"params": _learning(module)}]
    if schedule.rates is not None:
        parts = zip((HEAD, *PARTS), _head_and_parts(module), strict=True)
        groups = [
            {"params": weights, "lr": rate * schedule.rates.get(name, 1.0)}
            for name, part in parts
            if (weights := _learning(part))
        ]
    return kind(groups, lr=rate, weight_decay=schedule.weight_decay)


def _head_and_parts(backbone: Any) -> tuple[nn.Module, ...]:
    return (backbone.head, *backbone.parts)


def _learning(module: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in module.parameters() if weight.requires_grad]


def freeze_parts(backbone: Backbone, count: int) -> None:
    """Let the first parts of a backbone, from the film on, stay as they are.

    `Scored` keeps their batch norms in evaluation mode, so that their statistics stay, too.
    """
    for part in backbone.parts[:count]:
        part.requires_grad_(False)


def warm_up(trainer: SupervisedTrainer, module: nn.Module, schedule: Schedule) -> None:
    """Let the head alone learn in the first epochs; decided anew in each, so a resumed run agrees.

    A new head's first gradients say nothing, and would harm features that were learnt elsewhere.
    """
    epochs = schedule.warm_up
    if epochs is None:
        return
    named = module.named_parameters()
    features = [w for name, w in named if w.requires_grad and not name.startswith(f"{HEAD}.")]

    def choose(engine: SupervisedTrainer) -> None:
        for weight in features:
            weight.requires_grad_(engine.state.epoch > epochs)

    trainer.add_event_handler(Events.EPOCH_STARTED, choose)


def make_scheduler(
    schedule: Schedule, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Build what changes the rate; `steps` of the optimiser make an epoch."""
    if schedule.one_cycle is None:
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=schedule.learning_rate_decay)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [group["lr"] for group in optimizer.param_groups],
        total_steps=schedule.epochs * steps + 1,  # it is stepped once more after the last
        pct_start=schedule.one_cycle,
    )


def lower_rate(
    trainer: SupervisedTrainer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    schedule: Schedule,
) -> None:
    """Change the rate after each step of one cycle, else after each epoch."""
    event = Events.EPOCH_COMPLETED if schedule.one_cycle is None else _each_step(trainer)
    trainer.add_event_handler(event, lambda _: scheduler.step())


def average_weights(trainer: SupervisedTrainer, module: nn.Module, schedule: Schedule) -> nn.Module:
    """Give the module that is judged and kept: the one that learns, or its moving average."""
    if schedule.ema is None:
        return module
    average = EMAHandler(module, momentum=1 - schedule.ema, handle_buffers="update")
    average.attach(trainer, event=_each_step(trainer))
    kept: nn.Module = average.ema_model
    learnt, changing = dict(_tensors(module)), _changing(module, schedule)
    constants = [(ours, learnt[name]) for name, ours in _tensors(kept) if name not in changing]

    def restore(_: SupervisedTrainer) -> None:
        # Averaging a constant rounds it.
        for ours, theirs in constants:
            ours.data.copy_(theirs)

    trainer.add_event_handler(_each_step(trainer), restore)
    return kept


def _tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _changing(module: nn.Module, schedule: Schedule) -> set[str]:
    """Names of what training changes: weights that learn, and the statistics beside them."""
    learning = {name for name, weight in module.named_parameters() if weight.requires_grad}
    norms = {
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and f"{name}.weight" in learning
    }
    if schedule.norms == "kept":
        return learning
    statistics = {name for name, _ in module.named_buffers() if name.rpartition(".")[0] in norms}
    return learning | statistics


def _each_step(trainer: SupervisedTrainer) -> Any:
    """Each step of the optimiser: `EpochOrder` cuts epochs to whole steps."""
    return Events.ITERATION_COMPLETED(every=trainer.accumulation_steps)


def best_epoch(task: Task, epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the history's best line by the task's key; the earliest of equals."""
    return max(epochs, key=lambda row: (task.key_sign * row[task.key], -row["epoch"]))


def stalled(task: Task, schedule: Schedule, epochs: list[dict[str, Any]]) -> bool:
    """Whether the best epoch is `patience` epochs ago."""
    if schedule.patience is None or not epochs:
        return False
    return bool(len(epochs) - best_epoch(task, epochs)["epoch"] >= schedule.patience)


def stop_when_stalled(
    trainer: SupervisedTrainer, task: Task, schedule: Schedule, folder: NetworkFolder
) -> None:
    """Stop early; decided from the history, so that a resumed run decides alike."""
    if schedule.patience is None:
        return

    def check(engine: SupervisedTrainer) -> None:
        if agree(lambda: stalled(task, schedule, folder.epochs())):
            _logger.info("%s: no better epoch in %d", task.network, schedule.patience)
            engine.terminate()

    trainer.add_event_handler(Events.EPOCH_COMPLETED, check)
