"""How long a study will take here: a few timed steps of each network, times the films."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn

from cxrexport.networks import LungUNet, make_backbone
from cxrexport.study.plan import Plan, architecture_of
from cxrexport.study.workers import threads_each
from cxrexport.training.loop import pick_device
from cxrexport.training.recipe import Recipe

__all__ = ["Cost", "estimate"]

_STEPS = 3
AUGMENT_S = {True: 0.5e-7, False: 0.0}
"""Augmenting one film, seconds a pixel: 5 ms at 320 px on one core."""


@dataclass(frozen=True)
class Cost:
    """Of one network in one trial.

    Attributes:
        network: which.
        seconds_per_film: forward, backward and step, with the batch size of the recipe.
        seconds: for all epochs of one trial.
        left: trials in which it is not trained yet.
    """

    network: str
    seconds_per_film: float
    seconds: float
    left: int


def estimate(plan: Plan, jobs: int) -> tuple[Cost, ...]:
    """Time each network that is still to be trained, with as many threads as a worker will have.

    Early stopping is not foreseen, so it is an upper figure; workers that share memory and
    caches slow each other down, which it does not know.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads_each(jobs))
    try:
        networks = ["segment"] * (plan.segments and plan.lungs is None) + list(plan.networks)
        return tuple(cost for name in networks if (cost := _cost(plan, name)).left)
    finally:
        torch.set_num_threads(before)


def _cost(plan: Plan, network: str) -> Cost:
    recipe, name = plan.recipe_of(network), architecture_of(network)
    left = [split for split in plan.splits if not plan.run_of(split, network).folder(name).complete]
    if not left:
        return Cost(network, 0.0, 0.0, 0)
    schedule = recipe.schedule(name)
    seconds = _seconds_per_film(name, recipe, schedule.batch_size)
    films = len(left[0].positions("train"))
    augment = recipe.spec.size_px**2 * AUGMENT_S[recipe.augmentation.flip > 0]
    return Cost(network, seconds, schedule.epochs * films * (seconds + augment), len(left))


def _seconds_per_film(name: str, recipe: Recipe, batch: int) -> float:
    device = pick_device()
    module: nn.Module
    if name == "segment":
        module = LungUNet()
    else:
        module = make_backbone(name, **recipe.design_of(name))
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.to(device).train()
    size = recipe.spec.size_px
    film = torch.rand(max(2, batch), 1, size, size, device=device)
    times = []
    for _ in range(_STEPS):
        started = time.perf_counter()
        out = module.logits(film) if name == "segment" else module(film, film).logits  # type: ignore[operator]
        out.square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:]) / len(film)
