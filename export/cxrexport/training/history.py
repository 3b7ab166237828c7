"""What a training says of each epoch: a line of history, the best weights, the cost."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ignite.engine import Events
from monai.data import Dataset
from monai.engines import SupervisedTrainer
from rich.console import Console
from rich.progress import Progress
from torch import nn

from cxrclient.cli import bar_columns
from cxrclient.files import write_whole
from cxrexport.training.processes import is_first, mean, processes
from cxrexport.training.run import Run
from cxrexport.training.task import Task
from cxrexport.training.validation import judge

_WORDS = {"roc_auc": "ROC AUC", "dice": "Dice"}


def record_each_epoch(
    trainer: SupervisedTrainer,
    task: Task,
    module: nn.Module,
    films: Dataset,
    run: Run,
    console: Console,
) -> None:
    """After each epoch judge the module on validation films, and keep it if it is the best.

    Args:
        trainer: of the network.
        task: its task.
        module: what is judged and kept; the network that learns or its average.
        films: the validation films.
        run: where to write.
        console: where each epoch's figures and cost are said.
    """
    folder = run.folder(task.network)
    batch_size = run.recipe.schedule(task.network).batch_size
    losses: list[float] = []
    started = [0.0]

    def begin(_: SupervisedTrainer) -> None:
        losses.clear()
        started[0] = time.perf_counter()

    def record(engine: SupervisedTrainer) -> None:
        seconds = time.perf_counter() - started[0]
        train_loss = mean(sum(losses) / len(losses))
        if not is_first():
            return
        row = {
            "epoch": engine.state.epoch,
            "train_loss": train_loss,
            "learning_rate": engine.optimizer.param_groups[0]["lr"],
            "seconds": round(seconds, 2),
            **judge(task, module, films, batch_size, engine.state.device),
        }
        if all(_better(task, row, earlier) for earlier in folder.epochs()):
            run.save(task.network, module, {"epoch": str(row["epoch"])})
        lines = [json.dumps(each) + "\n" for each in [*folder.epochs(), row]]
        write_whole(folder.history, "".join(lines))
        console.print(_sentence(task, row, engine), highlight=False)

    trainer.add_event_handler(Events.EPOCH_STARTED, begin)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"].item())
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, record)


def ms_per_film(seconds: float, trainer: SupervisedTrainer) -> float:
    """Milliseconds a film of the training costs, for an epoch of `seconds`."""
    return 1000 * seconds / (len(trainer.data_loader.sampler) * processes())


def _sentence(task: Task, row: Mapping[str, Any], engine: SupervisedTrainer) -> str:
    said = {"epoch", "seconds", "learning_rate", "train_loss"}
    figures = figures_in_words({name: row[name] for name in row if name not in said})
    return (
        f"{task.network} {row['epoch']}/{engine.state.max_epochs}: {row['seconds']:.1f} s, "
        f"{ms_per_film(row['seconds'], engine):.1f} ms a film; "
        f"training loss {row['train_loss']:.3f}; validation {figures}"
    )


def figures_in_words(figures: Mapping[str, float]) -> str:
    """Figures of a split as part of a sentence: `Dice 0.951, loss 0.098`."""
    return ", ".join(f"{_WORDS.get(name, name)} {value:.3f}" for name, value in figures.items())


def _better(task: Task, row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(task.key_sign * row[task.key] > task.key_sign * other[task.key])


def show_progress(trainer: SupervisedTrainer, task: Task, console: Console) -> Progress:
    """Give a bar that moves with the trainer; show it with `with`."""
    bar = Progress(*bar_columns(), console=console)
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
