"""Trains and scores every network of every trial, as many at once as there are workers."""

from __future__ import annotations

from collections.abc import Callable

from cxrexport.study.plan import Plan
from cxrexport.study.tasks import (
    compute_all_features,
    preprocess_films,
    score_trial,
    train_lungs,
    train_network,
)
from cxrexport.study.workers import TaskSpec, run_tasks

_SLOWEST_FIRST = ("vgg16", "resnet152", "densenet121", "resnet50", "resnet50-plain", "resnet34")


def _place(network: str) -> int:
    """Where a network stands in the queue; one that nobody has timed comes first."""
    return _SLOWEST_FIRST.index(network) if network in _SLOWEST_FIRST else -1


def tasks_of(plan: Plan) -> list[TaskSpec]:
    """List the work: films, then each trial's lung network, its backbones, its scores.

    Features come before the backbones, of all trials at once, as what lies below the lungs is the
    same in each.

    The slowest network of a trial comes first, so that no worker is left alone with it.
    """
    kinds = {str(plan.films_folder(network)): network for network in plan.networks}
    films = {
        folder: TaskSpec(f"films {network}", preprocess_films, (plan, network))
        for folder, network in kinds.items()
    }
    tasks = list(films.values())
    for split in plan.splits:
        if plan.segments:
            needs: tuple[str, ...] = (films[str(plan.films_folder("segment"))].name,)
            tasks.append(TaskSpec(f"{split.name} lungs", train_lungs, (plan, split), needs))
    lungs = tuple(task.name for task in tasks if task.function is train_lungs)
    features = {}
    for network in sorted(plan.networks, key=_place):
        if plan.caches(network):
            name = features[network] = f"features {network}"
            needs = (films[str(plan.films_folder(network))].name,)
            after = lungs if plan.recipe_of(network).needs_lungs else ()
            tasks.append(TaskSpec(name, compute_all_features, (plan, network), needs, after))
    for split in plan.splits:
        for network in sorted(plan.networks, key=_place):
            needs = (films[str(plan.films_folder(network))].name,)
            if plan.recipe_of(network).needs_lungs:
                needs = (*needs, f"{split.name} lungs")
            if network in features:
                needs = (*needs, features[network])
            name = f"{split.name} {network}"
            tasks.append(TaskSpec(name, train_network, (plan, split, network), needs))
        every = tuple(f"{split.name} {network}" for network in plan.networks)
        tasks.append(TaskSpec(f"{split.name} scores", score_trial, (plan, split), every))
    return tasks


def train_all(
    plan: Plan, jobs: int, on_end: Callable[[str, str | None], None] = lambda name, failure: None
) -> dict[str, str]:
    """Train and score what is not yet.

    Returns:
        Task → what failed; empty where all is trained.
    """
    return run_tasks(tasks_of(plan), jobs, on_end)
