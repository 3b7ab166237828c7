"""What a worker does for a study: one network of one trial, from cached films to its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from cxrclient.files import write_whole
from cxrexport.ensemble import TorchGraphs
from cxrexport.evaluation.blanking import INTERVENTIONS
from cxrexport.evaluation.scoring import Networks, RawScores, score
from cxrexport.manifest import FilmRow
from cxrexport.networks import Backbone
from cxrexport.study.by_features import FeatureGraphs
from cxrexport.study.plan import Plan, architecture_of
from cxrexport.study.splits import Split
from cxrexport.training.classify import start_backbone, train_backbone
from cxrexport.training.films import (
    Frozen,
    Maps,
    compute_features,
    films_of_maps,
    mapped_films,
    mapped_lungs,
)
from cxrexport.training.loop import Films, pick_device
from cxrexport.training.recipe import Recipe
from cxrexport.training.run import given_lungs, read_json, weights_digest
from cxrexport.training.segment import train_segment


def preprocess_films(plan: Plan, network: str) -> tuple[Maps, Maps | None]:
    """Preprocess the study's films as a network sees them, once for all trials."""
    recipe = plan.recipe_of(network)
    rows = plan.splits[0].rows
    masks = recipe.needs_lungs and plan.lungs is None
    return mapped_films(rows, recipe.spec, plan.films_folder(network), masks=masks)


def train_lungs(plan: Plan, split: Split) -> None:
    """Train a trial's lung network on its training films' masks, or take the given one; map lungs.

    No map of a test film comes from a network that saw its mask.
    """
    run = plan.run_of(split, "segment")
    if not run.folder("segment").complete:
        if plan.lungs is not None:
            given_lungs(plan.lungs).take(run)
        else:
            films, masks = preprocess_films(plan, "segment")
            with_mask = [i for i, row in enumerate(split.rows) if row.mask is not None]
            learnt = _films(split, films, masks, run.recipe, with_mask, masks=True)
            train_segment(run, learnt, _quiet())
    lung_maps(plan, split)


def lung_maps(plan: Plan, split: Split) -> Maps:
    """Every film's lungs by the trial's lung network; computed once."""
    run = plan.run_of(split, "segment")
    films, _ = preprocess_films(plan, "segment")
    device = pick_device()
    network = run.load("segment").to(device)
    weights = weights_digest(run.folder("segment").checkpoint)
    folder = plan.trial_folder(split) / "lungs"
    return mapped_lungs(films, lambda film: network(film.to(device)), weights, folder)


def train_network(plan: Plan, split: Split, network: str) -> None:
    """Train one backbone of one trial; nothing to do where it is trained already."""
    run, name = plan.run_of(split, network), architecture_of(network)
    if run.folder(name).complete:
        return
    module, films = _begun(plan, split, network)
    train_backbone(name, module, run, films, _quiet(), plan.features_folder)


def compute_all_features(plan: Plan, network: str) -> None:
    """Compute what a network's frozen parts make of the films, with the lungs of every trial.

    A trial without a lung network is passed over: it fails by itself.
    """
    name, recipe = architecture_of(network), plan.recipe_of(network)
    left = [s for s in plan.splits if not plan.run_of(s, network).folder(name).complete]
    if recipe.needs_lungs:
        left = [s for s in left if plan.run_of(s, "segment").folder("segment").complete]
    if not left:
        return
    films, _ = preprocess_films(plan, network)
    module = start_backbone(name, plan.run_of(left[0], network), plan.pretrained.get(network))
    lungs = [lung_maps(plan, split) if recipe.needs_lungs else None for split in left]
    compute_features(films, lungs, Frozen.of(name, module), plan.features_folder)


def _begun(plan: Plan, split: Split, network: str) -> tuple[Backbone, Films]:
    """A trial's network with the weights that it starts from, and its films."""
    run = plan.run_of(split, network)
    films, _ = preprocess_films(plan, network)
    lungs = lung_maps(plan, split) if run.recipe.needs_lungs else None
    module = start_backbone(architecture_of(network), run, plan.pretrained.get(network))
    return module, _films(split, films, lungs, run.recipe, range(len(split.rows)))


def scores_path(plan: Plan, split: Split) -> Path:
    """Where a trial's scores are kept."""
    return plan.trial_folder(split) / "scores.npz"


def score_trial(plan: Plan, split: Split) -> None:
    """Score every film by every network of a trial; nothing to do where these weights did it."""
    path = scores_path(plan, split)
    known, identity = path.with_suffix(".json"), _weights_of(plan, split)
    if path.is_file() and known.is_file() and read_json(known) == identity:
        asked = RawScores.load(path).blanked.keys()
        if not asked or asked == INTERVENTIONS.keys():  # an older study asked less
            return
    raw = RawScores()
    for folder in sorted({str(plan.films_folder(network)) for network in plan.networks}):
        networks = [name for name in plan.networks if str(plan.films_folder(name)) == folder]
        films, _ = preprocess_films(plan, networks[0])
        lungs = lung_maps(plan, split) if plan.recipe_of(networks[0]).needs_lungs else None
        modules = {
            name: plan.run_of(split, name).load(architecture_of(name)).to(pick_device())
            for name in networks
        }
        closely = split.positions("test") if lungs is not None else ()
        quick = FeatureGraphs(modules, plan) if all(map(plan.caches, networks)) else None
        judges = Networks(TorchGraphs(modules), tuple(networks), plan.recipe.served, quick=quick)
        part = score(judges, films, lungs, closely=closely)
        raw = raw.joined(part)
    raw.save(path)
    write_whole(known, json.dumps(identity, indent=2) + "\n")


def _weights_of(plan: Plan, split: Split) -> dict[str, str]:
    """Digest of each network's weights, the lung network's included."""
    networks = (["segment"] if plan.segments else []) + list(plan.networks)
    return {
        name: weights_digest(plan.run_of(split, name).folder(architecture_of(name)).checkpoint)
        for name in networks
    }


def _films(
    split: Split,
    films: Maps,
    lungs: Maps | None,
    recipe: Recipe,
    chosen: Sequence[int],
    *,
    masks: bool = False,
) -> Films:
    rows: Sequence[FilmRow] = [split.rows[i] for i in chosen]
    return films_of_maps(rows, np.asarray(chosen), films, lungs, recipe, masks=masks)


def _quiet() -> Console:
    return Console(quiet=True)
