"""How long a study will take here: a few timed steps of each network, times the films."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from cxrexport.networks import LungUNet, make_backbone
from cxrexport.study.plan import Plan, architecture_of
from cxrexport.study.splits import Split
from cxrexport.study.workers import threads_each
from cxrexport.training.classify import scores_from
from cxrexport.training.films import Frozen, check_room
from cxrexport.training.learning import freeze_parts
from cxrexport.training.loop import pick_device
from cxrexport.training.recipe import Recipe
from cxrexport.training.task import Scored
from cxrexport.weights import layout_of_weights, load_pretrained

_STEPS = 3
_FILMS = 4
_DRAW_S = 1e-3
"""Reading a film's features, and drawing whether it is flipped."""
AUGMENT_S = {True: 0.5e-7, False: 0.0}
"""Augmenting one film, seconds a pixel: 5 ms at 320 px on one core."""


@dataclass(frozen=True)
class Cost:
    """Of one network in one trial, or of the features that it learns from.

    Attributes:
        work: which; a task is called after it, and, where it is done once a trial, after the trial.
        seconds_per_film: forward, backward and step, with the batch size of the recipe; of
            features, forward for a film and its flip.
        seconds: for all epochs of one trial; of features, for all films.
        left: trials in which it is not trained yet; sets of features that are not there.
    """

    work: str
    seconds_per_film: float
    seconds: float
    left: int


def estimate(plan: Plan, jobs: int) -> tuple[Cost, ...]:
    """Time each network that is still to be trained, with as many threads as a worker will have.

    Features of parts that are frozen come first, where they are computed once: each trial then
    costs what is left to learn. Early stopping is not foreseen, so it is an upper figure; workers
    that share memory and caches slow each other down, which it does not know.

    Raises:
        RecipeError: there is no room for the features.
        CheckpointError: weights to start from cannot be had or do not fit.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads_each(jobs))
    try:
        networks = ["segment"] * (plan.segments and plan.lungs is None) + list(plan.networks)
        costs, needed = [], 0
        for network in networks:
            name, left = architecture_of(network), _left(plan, network)
            if not left:
                continue
            if name == "segment":
                costs.append(_cost(plan, network, left, _segment_step(plan.recipe), "lungs"))
                continue
            step, frozen = _backbone_step(plan, network)
            if plan.caches(network):
                features, bytes_needed = _features_cost(plan, network, len(left), frozen)
                needed += bytes_needed
                costs += [features] if features.left else []
            costs.append(_cost(plan, network, left, step))
        check_room(plan.features_folder, needed)
        return tuple(costs)
    finally:
        torch.set_num_threads(before)


def seconds_left(plan: Plan, costs: Sequence[Cost], jobs: int, tasks: Iterable[str]) -> float:
    """What tasks that have not ended may take, by the estimate; to prepare and score films is free.

    Args:
        plan: the study's.
        costs: as `estimate` gave them.
        jobs: how many tasks run at a time.
        tasks: names of those that have not ended.
    """
    each = {cost.work: cost.seconds * cost.left for cost in costs}
    each |= {f"{split.name} {cost.work}": cost.seconds for split in plan.splits for cost in costs}
    return sum(each.get(task, 0.0) for task in tasks) / jobs


def _left(plan: Plan, network: str) -> list[Split]:
    name = architecture_of(network)
    return [split for split in plan.splits if not plan.run_of(split, network).folder(name).complete]


def _cost(
    plan: Plan, network: str, left: Sequence[Split], step: Callable[[], None], work: str = ""
) -> Cost:
    recipe, name = plan.recipe_of(network), architecture_of(network)
    schedule = recipe.schedule(name)
    seconds = _fastest(step) / max(2, schedule.batch_size)
    films = len(left[0].positions("train"))
    augment = recipe.spec.size_px**2 * AUGMENT_S[recipe.augmentation_of(name).flip > 0]
    if plan.caches(network):
        augment = _DRAW_S
    each = schedule.epochs * films * (seconds + augment)
    return Cost(work or network, seconds, each, len(left))


def _features_cost(plan: Plan, network: str, trials: int, frozen: Frozen) -> tuple[Cost, int]:
    """What a network's features will cost, and the bytes that they will take."""
    recipe, films = plan.recipe_of(network), len(plan.splits[0].rows)
    own_lungs = recipe.needs_lungs and plan.lungs is None
    # Parts that do not see the lungs run once; the head's pooling alone is each trial's own.
    runs = trials if own_lungs and frozen.sees_lungs else 1
    sets = trials if own_lungs and frozen.reads_lungs else 1
    there = len(list((plan.features_folder / frozen.network).glob("*/*.npy")))
    missing = max(0, sets * films - there)
    blank = np.zeros((_FILMS, 1, recipe.spec.size_px, recipe.spec.size_px), np.uint8)
    seconds = 2 * _fastest(lambda: frozen(blank, blank)) / _FILMS
    once = seconds * missing / sets
    cost = Cost(f"features {network}", seconds, once, runs if missing else 0)
    return cost, missing * frozen.bytes_a_film(recipe.spec.size_px)


def _segment_step(recipe: Recipe) -> Callable[[], None]:
    """Forward and backward of the lung network, for a batch of films."""
    module = LungUNet().to(pick_device()).train()
    film = _noise(recipe, "segment")
    return lambda: module.logits(film).square().mean().backward()  # type: ignore[no-untyped-call]


def _backbone_step(plan: Plan, network: str) -> tuple[Callable[[], None], Frozen]:
    """Forward and backward of what learns in a backbone, for a batch, and what does not learn."""
    name, recipe = architecture_of(network), plan.recipe_of(network)
    schedule, source = recipe.schedule(name), plan.pretrained.get(network)
    layout = None if source is None else layout_of_weights(source)
    module = make_backbone(name, layout=layout, **recipe.design_of(name))
    if source is not None:
        load_pretrained(module, name, source)
    freeze_parts(module, schedule.frozen or 0)
    frozen = Frozen.of(name, module)
    lungs = shown = _noise(recipe, name)
    if schedule.cached:
        levels = np.zeros(shown.shape, np.uint8)
        shown = torch.from_numpy(frozen.read(frozen(levels, levels)[0])).to(lungs.device).float()
    learning = Scored(module, partial(scores_from, frozen.parts if schedule.cached else 0)).train()
    return lambda: learning(shown, lungs).square().mean().backward(), frozen


def _noise(recipe: Recipe, network: str) -> torch.Tensor:
    films = max(2, recipe.schedule(network).batch_size)
    size = recipe.spec.size_px
    return torch.rand(films, 1, size, size, device=pick_device())


def _fastest(step: Callable[[], Any]) -> float:
    """Seconds of a step, the best after the first."""
    times = []
    for _ in range(_STEPS):
        started = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])
