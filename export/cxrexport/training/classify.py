"""Trains a backbone on [film, lung map, zeros] and a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.data import DataLoader, Dataset
from monai.metrics import compute_roc_auc
from rich.console import Console
from torch import nn

from cxrexport.errors import ManifestError, RecipeError
from cxrexport.manifest import FilmRow
from cxrexport.networks import Backbone, Layout
from cxrexport.training.films import (
    FEATURES,
    FILM,
    LABEL,
    LUNGS,
    Frozen,
    cache_films,
    cached_films,
    with_splits,
)
from cxrexport.training.learning import freeze_parts
from cxrexport.training.loop import Films, Task, fit, pick_device
from cxrexport.training.recipe import Recipe
from cxrexport.training.run import (
    Origin,
    Run,
    inherit_origin,
    note_origin,
    start_afresh,
    start_from,
)
from cxrexport.training.schedule import PARTS
from cxrexport.weights import layout_of_weights, load_pretrained, named_in

_SILENT = 1e-6
"""A feature whose deviation is not above this is as good as constant."""


def cache_for_backbones(run: Run, rows: Sequence[FilmRow], console: Console) -> Films:
    """Preprocess and segment every film once, for all backbones.

    Raises:
        ManifestError: as `require_both_classes`.
        CheckpointError: the run's lung network is not trained, and the backbones look at its maps.
    """
    rows = require_both_classes(rows, run.recipe)
    if not run.recipe.needs_lungs:
        return cache_films(rows, run.recipe, console)
    device = pick_device()
    lungs = run.load("segment").to(device)
    return cache_films(rows, run.recipe, console, lambda film: lungs(film.to(device)))


def require_both_classes(rows: Sequence[FilmRow], recipe: Recipe) -> Sequence[FilmRow]:
    """Give the rows with their splits, if both classes are there to learn from and to choose by.

    Raises:
        ManifestError: the train or validation split lacks a class.
    """
    rows = with_splits(rows, recipe.seed)
    for split in ("train", "validation"):
        missing = set(recipe.labels) - {row.label for row in rows if row.split == split}
        if missing:
            raise ManifestError(
                f"The {split} split has no {' and no '.join(sorted(missing))} film; "
                "add films or split again."
            )
    return rows


def start_backbone(
    name: str,
    run: Run,
    pretrained: str | None = None,
    *,
    init: Path | None = None,
    freeze: bool = False,
) -> Backbone:
    """Make a backbone with the weights that it starts from.

    Args:
        name: a key of `ARCHITECTURES`.
        run: gives width and seed.
        pretrained: `imagenet`, a checkpoint's path, or a folder of `cxrexport weights fetch`; None
            starts from scratch.
        init: another run's folder, to start from its weights of the same network; recorded in
            `run` (see `cxrexport.training.run.initial`).
        freeze: only the head learns, whatever the schedule's `frozen` says.

    Raises:
        CheckpointError: the weights to start from cannot be had or do not fit.
        RecipeError: the network was begun from other weights, or both kinds are given.
    """
    if pretrained is not None and init is not None:
        raise RecipeError(f"{name} cannot start from {pretrained} and from {init}; give one.")
    frozen = len(PARTS) if freeze else run.recipe.schedule(name).frozen or 0
    if frozen and pretrained is None and init is None:
        raise RecipeError(
            f"{name}: features that were never trained cannot be frozen; give --init or "
            "--pretrained."
        )
    if pretrained is not None:
        pretrained = named_in(pretrained, name)
    module = run.make(name, _layout_to_start_in(name, pretrained, init))
    assert isinstance(module, Backbone)  # noqa: S101  # the lung network alone is none
    origin = None
    if pretrained is not None:
        load_pretrained(module, name, pretrained)
        origin = replace(Origin.of(name, pretrained), freeze="features" if freeze else None)
    if init is not None:
        start_from(module, name, run, init, freeze=freeze)
        inherit_origin(run, name, Run.open(init))
    else:
        note_origin(run, name, origin)
        start_afresh(name, run)
    if pretrained is None and init is None:
        _start_residuals_at_identity(module)
    freeze_parts(module, frozen)
    return module


def _layout_to_start_in(name: str, pretrained: str | None, init: Path | None) -> Layout | None:
    if pretrained is not None:
        return layout_of_weights(pretrained)
    other = None if init is None else Run.open(init)
    if other is None or not other.folder(name).checkpoint.is_file():
        return None
    return other.layout_of(name)


def train_backbone(
    name: str,
    module: Backbone,
    run: Run,
    films: Films,
    console: Console,
    features: Path | None = None,
) -> dict[str, Any]:
    """Train one backbone with cross-entropy; keeps the epoch of the lowest validation loss.

    Args:
        name: a key of `ARCHITECTURES`.
        module: from `start_backbone`.
        run: where to write.
        films: from `cache_for_backbones`.
        console: for progress.
        features: where a schedule that says `cached` keeps what its frozen parts make of the films;
            None for the run's own folder `features`.

    Returns:
        The content of `metrics.json`.

    Raises:
        RecipeError: there is no room for the features.
    """
    schedule, first = run.recipe.schedule(name), 0
    if schedule.cached:
        frozen, folder = Frozen.of(name, module), features or run.path / FEATURES
        console.print(
            f"What the frozen parts of {name} make of the films is kept in {folder}; delete it "
            "when all is trained."
        )
        films, first = cached_films(films, frozen, folder), frozen.parts
    if schedule.standardise and not run.folder(name).state.is_file():
        _standardise(module, first, films.train.as_they_are(), schedule.batch_size)
    return fit(_task(name, _class_weights(run, name, films), first), module, films, run, console)


def _standardise(module: Backbone, first: int, films: Dataset, batch_size: int) -> None:
    """Let the head shift and scale each feature to mean 0 and deviation 1 over these films.

    Args:
        module: its `head` is changed.
        first: as in `pooled_from`.
        films: not augmented.
        batch_size: films at once.
    """
    device = pick_device()
    module.to(device).eval()
    seen = []
    with torch.inference_mode():
        for batch in DataLoader(films, batch_size=batch_size):
            shown, _, (lungs,), _ = _prepare(batch, device, non_blocking=False)
            seen.append(pooled_from(module, first, shown, lungs).double())
        features = torch.cat(seen)
        mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    module.head.mean.copy_(mean)
    # A channel that no film excites says nothing: it stays at 0.
    module.head.scale.copy_(torch.where(deviation > _SILENT, deviation, 1.0))


def scores_from(
    first: int, module: Backbone, shown: torch.Tensor, lungs: torch.Tensor
) -> torch.Tensor:
    """Logits [N, 2], computed by the parts from `first` on; see `pooled_from`."""
    return module.head.classify(pooled_from(module, first, shown, lungs)).logits


def pooled_from(
    module: Backbone, first: int, shown: torch.Tensor, lungs: torch.Tensor
) -> torch.Tensor:
    """What the head reads, float [N, F], computed by the parts from `first` on.

    Args:
        module: the backbone.
        first: a part, counted from 0; 5 where nothing is left to compute.
        shown: what that part takes; the film for the first one, the features for the fifth.
        lungs: float [N, 1, S, S].
    """
    if first == len(module.parts):
        return shown
    maps = module.enter(shown, lungs) if first == 0 else shown
    return module.head.pool(module.extract(maps, first), lungs)


def _class_weights(run: Run, name: str, films: Films) -> torch.Tensor | None:
    """Weigh each class by the inverse of its training films, mean 1; None where not asked for."""
    if run.recipe.schedule(name).class_weights is None:
        return None
    counts = torch.bincount(torch.tensor([item[LABEL] for item in films.train.data]), minlength=2)
    return (counts.sum() / (2 * counts)).float().to(pick_device())


def _start_residuals_at_identity(module: nn.Module) -> None:
    """Zero each residual branch's last norm: deep networks then learn from scratch at once.

    Source: Goyal et al., 2017 (arXiv 1706.02677), section 5.1.
    """
    for block in module.modules():
        last = getattr(block, "bn3", getattr(block, "bn2", None))
        if isinstance(last, nn.BatchNorm2d):
            nn.init.zeros_(last.weight)


def _task(name: str, weight: torch.Tensor | None = None, first: int = 0) -> Task:
    loss = partial(_cross_entropy, weight=weight)
    return Task(
        network=name,
        scores=partial(scores_from, first),
        prepare_batch=_prepare,
        loss=loss,
        keep=lambda scores, label: (scores, label),
        figures=partial(_figures, weight=None if weight is None else weight.cpu()),
        key="loss",
        key_sign=-1,
        channels_last=True,
    )


def _cross_entropy(
    logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor | None
) -> torch.Tensor:
    """Mean over the films of weight times cross-entropy.

    torch's own mean divides by the batch's weights instead, so a class would weigh less in the
    very batches that have more of it, and nothing at all in a batch of one film.
    """
    return nn.functional.cross_entropy(logits, label, weight, reduction="sum") / len(label)


def _prepare(
    batch: Mapping[str, torch.Tensor], device: torch.device, non_blocking: bool, **_: Any
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor], dict[str, Any]]:
    shown = FEATURES if FEATURES in batch else FILM
    seen, lungs, label = (
        batch[key].to(device, non_blocking=non_blocking) for key in (shown, LUNGS, LABEL)
    )
    return seen, label, (lungs,), {}


def _figures(
    logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor | None
) -> dict[str, float]:
    positive = torch.softmax(logits, dim=1)[:, 1]
    return {
        "loss": float(_cross_entropy(logits, label, weight)),
        "accuracy": float((logits.argmax(dim=1) == label).double().mean()),
        "roc_auc": float(compute_roc_auc(positive, label)),
    }
