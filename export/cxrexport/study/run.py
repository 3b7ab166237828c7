"""Trains and scores every network of every trial, as many at once as there are workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cxrexport.study.plan import Plan
from cxrexport.study.splits import Split
from cxrexport.study.tasks import (
    compute_features,
    preprocess_films,
    score_trial,
    train_lungs,
    train_network,
)
from cxrexport.study.workers import TaskSpec, run_tasks

__all__ = ["tasks_of", "train_all"]

_SLOWEST_FIRST = ("vgg16", "resnet152", "densenet121", "resnet50", "resnet50-plain", "resnet34")


def _place(network: str) -> int:
    """Where a network stands in the queue; one that nobody has timed comes first."""
    return _SLOWEST_FIRST.index(network) if network in _SLOWEST_FIRST else -1


def tasks_of(plan: Plan) -> list[TaskSpec]:
    """List the work: films, then each trial's lung network, its backbones, its scores.

    Features that serve every trial are computed before the first one; a trial's own by itself.

    The slowest network of a trial comes first, so that no worker is left alone with it.
    """
    kinds = {str(plan.films_folder(network)): network for network in plan.networks}
    films = {
        folder: TaskSpec(f"films {network}", preprocess_films, (plan, network))
        for folder, network in kinds.items()
    }
    tasks = list(films.values())
    for split in plan.splits:
        lungs = f"{split.name} lungs"
        if plan.segments:
            needs: tuple[str, ...] = (films[str(plan.films_folder("segment"))].name,)
            tasks.append(TaskSpec(lungs, train_lungs, (plan, split), needs))
    shared = {}
    for network in sorted(plan.networks, key=_place):
        if plan.feature_sets(network, len(plan.splits)) == 1:
            shared[network] = f"features {network}"
            needs = _needs(plan, plan.splits[0], network, films)
            tasks.append(TaskSpec(shared[network], compute_features, (plan, network), needs))
    for split in plan.splits:
        for network in sorted(plan.networks, key=_place):
            needs = _needs(plan, split, network, films)
            if network in shared:
                needs = (*needs, shared[network])
            name = f"{split.name} {network}"
            tasks.append(TaskSpec(name, train_network, (plan, split, network), needs))
        every = tuple(f"{split.name} {network}" for network in plan.networks)
        tasks.append(TaskSpec(f"{split.name} scores", score_trial, (plan, split), every))
    return tasks


def _needs(
    plan: Plan, split: Split, network: str, films: Mapping[str, TaskSpec]
) -> tuple[str, ...]:
    """The tasks that give a network its films and, where it looks at them, their lungs."""
    films_of = films[str(plan.films_folder(network))].name
    if not plan.recipe_of(network).needs_lungs:
        return (films_of,)
    return films_of, f"{split.name} lungs"


def train_all(
    plan: Plan, jobs: int, on_end: Callable[[str, str | None], None] = lambda name, failure: None
) -> dict[str, str]:
    """Train and score what is not yet.

    Returns:
        Task → what failed; empty where all is trained.
    """
    return run_tasks(tasks_of(plan), jobs, on_end)
