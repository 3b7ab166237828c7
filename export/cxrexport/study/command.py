"""The `study` command: checks everything, says how long it takes, trains, evaluates."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from cxrclient.cli import cell, console as terminal_console, time_left
from cxrclient.files import only_one, private_folder, sha256_of
from cxrexport.ensemble import SEGMENT
from cxrexport.errors import CheckpointError, ManifestError, RecipeError
from cxrexport.evaluation.assess import Assessment
from cxrexport.evaluation.calibration.of_run import store_calibration
from cxrexport.evaluation.scores import COMPARISON
from cxrexport.manifest import FilmRow, raise_problems, scan_manifest
from cxrexport.manifest.films import check_films
from cxrexport.networks import ARCHITECTURES
from cxrexport.report.finish import finish
from cxrexport.study.estimate import Cost, estimate, seconds_left
from cxrexport.study.lungs import with_lungs
from cxrexport.study.material import material_of
from cxrexport.study.plan import Plan, architecture_of
from cxrexport.study.run import tasks_of, train_all
from cxrexport.study.splits import (
    Split,
    cross_validation,
    leave_source_out,
    problems_of_sources,
    random_splits,
    read_folds,
)
from cxrexport.study.starting import starting_weights
from cxrexport.study.tasks import scores_path
from cxrexport.training.recipe import Recipe, load_recipe
from cxrexport.training.run import note_films, read_json

_MOST_JOBS = 4


@dataclass(frozen=True)
class StudyOptions:
    """What the command line says; see `cxrexport study --help`."""

    manifest: Path
    output: Path
    recipe: str
    settings: tuple[str, ...]
    splits: int
    folds: Path | None
    networks: str | None
    root: Path | None
    leave_source_out: bool
    mask_to_lungs: bool
    lungs: str | None
    pretrained: tuple[str, ...]
    jobs: int | None
    bootstrap: int
    evaluate_only: bool
    train_only: bool


def run_study(options: StudyOptions) -> None:
    """Do the study, or go on with it.

    Raises:
        ManifestError: films or splits that nothing can be learnt from, all problems at once.
        RecipeError: unknown networks, or the folder holds a study of another recipe, or one that
            is at work.
        CheckpointError: weights to start from cannot be had or do not fit.
    """
    plan = make_plan(options)
    private_folder(plan.folder)
    busy = RecipeError(
        f"Another `cxrexport study` works in {plan.folder}; wait for it to end, or stop it."
    )
    with only_one(plan.folder, busy):
        _run(options, plan, terminal_console(stderr=True))


def _run(options: StudyOptions, plan: Plan, console: Console) -> None:
    jobs = options.jobs or _default_jobs()
    unfinished: dict[str, str] = {}
    costs: Sequence[Cost] = ()
    if options.evaluate_only:
        plan, unfinished = _whole_trials(plan)
    else:
        if plan.lungs_note:
            console.print(cell(plan.lungs_note))
        costs = estimate(plan, jobs)
        _say_costs(plan, costs, jobs, console)
        _note_films(plan)
    tasks = [task.name for task in tasks_of(plan)]
    waiting = set(tasks)
    started, ended = time.monotonic(), Counter[str]()

    def on_end(name: str, failure: str | None) -> None:
        ended["failed" if failure else "done"] += 1
        waiting.discard(name)
        gone = time.monotonic() - started
        left = time_left(seconds_left(plan, costs, jobs, waiting))
        counts = ", ".join(f"{count} {fate}" for fate, count in ended.items())
        said = cell("failed", "red") + cell(f": {failure}") if failure else cell("done")
        how_far = f"{counts} of {len(tasks)} after {gone / 60:.1f} min"
        how_far += f", {left}" * bool(left)
        console.print(cell(f"{name}: ") + said + cell(f" ({how_far})"))

    failures = unfinished | train_all(plan, jobs, on_end)
    if options.train_only:
        return
    material = material_of(plan, failures)
    results = finish(
        material, plan.folder, console, bootstrap=options.bootstrap, seed=plan.recipe.seed
    )
    _store_calibrations(plan, results)


def _note_films(plan: Plan) -> None:
    """Write down what each trial's networks are about to learn from, as `cxrexport train` does."""
    hashed: list[str] = []
    trained = [*plan.networks, *([SEGMENT] if plan.segments and plan.lungs is None else [])]
    for split in plan.splits:
        runs = {network: plan.run_of(split, network) for network in trained}
        for network, run in runs.items():
            name = architecture_of(network)
            if not run.folder(name).complete:
                hashed = hashed or [sha256_of(row.image) for row in split.rows]
                # A trial's folder that cannot be written is its own task's failure, and no other's.
                with contextlib.suppress(OSError):
                    note_films(run, [name], split.rows, hashed)


def _whole_trials(plan: Plan) -> tuple[Plan, dict[str, str]]:
    """The plan of those trials whose networks are all trained, and what the others lack.

    Raises:
        CheckpointError: no trial is whole.
    """
    lacking = {
        split.name: [
            network
            for network in plan.networks
            if not plan.run_of(split, network).folder(architecture_of(network)).complete
        ]
        for split in plan.splits
    }
    whole = tuple(split for split in plan.splits if not lacking[split.name])
    if not whole:
        raise CheckpointError(
            f"No trial of {plan.folder} has all its networks yet; call `study` without "
            "--evaluate-only to train them."
        )
    unfinished = {
        f"{name} scores": f"not trained yet: {', '.join(networks)}"
        for name, networks in lacking.items()
        if networks
    }
    return replace(plan, splits=whole), unfinished


def _store_calibrations(plan: Plan, results: Assessment) -> None:
    """Keep each trial's calibration with its run, bound to the weights that were scored."""
    trials = results.calibration.trials if results.calibration else ()
    fitted = {each.name: each.calibration for each in trials}
    for split in plan.splits:
        calibration = fitted.get(split.name)
        if calibration is not None and calibration.members:
            weights = read_json(scores_path(plan, split).with_suffix(".json"))
            store_calibration(plan.trial_folder(split), calibration, weights)


def make_plan(options: StudyOptions) -> Plan:
    """Read and check everything that a study starts from. Raises as `run_study`."""
    recipe = load_recipe(options.recipe, options.settings)
    if options.mask_to_lungs:
        recipe = recipe.model_copy(update={"name": f"{recipe.name}-masked", "input": "masked"})
    networks = _networks(options.networks, recipe)
    rows = _read(options, recipe)
    plan = Plan(
        folder=options.output,
        recipe=recipe,
        splits=_splits(rows, options, recipe),
        networks=networks,
    )
    plan = replace(plan, pretrained=starting_weights(options.pretrained, plan))
    _check_frozen(plan)
    return with_lungs(plan, options.lungs) if plan.segments else plan


def _read(options: StudyOptions, recipe: Recipe) -> tuple[FilmRow, ...]:
    """Read the manifest and look into every film; its splits are not ours.

    Raises:
        ManifestError: every problem of cells and films at once.
    """
    rows, problems = scan_manifest(options.manifest, root=options.root, labels=recipe.labels)
    rows = tuple(replace(row, split=None) for row in rows)
    problems += check_films(rows, options.manifest, recipe.labels)
    if options.leave_source_out:
        problems += problems_of_sources(rows, options.manifest, recipe.labels)
    raise_problems(problems)
    return rows


def _networks(names: str | None, recipe: Recipe) -> tuple[str, ...]:
    """Name the networks: the study's, and the recipe's members that it has not, or those asked for.

    Of a recipe that freezes, the members alone: others have no weights to freeze.

    Raises:
        RecipeError: there is none of such a name.
    """
    if names is None:
        if recipe.classify.frozen:
            return recipe.served
        return tuple(dict.fromkeys((*COMPARISON, *recipe.served)))
    known = tuple(dict.fromkeys((*COMPARISON, *ARCHITECTURES)))
    wanted = {name.strip() for name in names.split(",")}
    if unknown := sorted(wanted - set(known)):
        raise RecipeError(f"There is no network {unknown[0]!r}; choose of {', '.join(known)}.")
    return tuple(name for name in known if name in wanted)


def _splits(rows: Sequence[FilmRow], options: StudyOptions, recipe: Recipe) -> tuple[Split, ...]:
    if options.leave_source_out and options.folds is not None:
        raise RecipeError("Give either --leave-source-out or --folds.")
    if options.leave_source_out:
        splits = leave_source_out(rows, recipe.seed)
    elif options.folds is not None:
        splits = cross_validation(rows, read_folds(options.folds), recipe.seed)
    else:
        splits = random_splits(rows, options.splits, recipe.seed)
    problems = [
        f"{split.name}: {side}: no film is {label}"
        for split in splits
        for side in ("train", "validation", "test")
        for label in recipe.labels
        if not any(row.split == side and row.label == label for row in split.rows)
    ]
    if problems:
        raise ManifestError(
            "Some splits lack a class; add films, or split otherwise.\n" + "\n".join(problems)
        )
    return splits


def _check_frozen(plan: Plan) -> None:
    """Refuse to freeze what was never trained.

    Raises:
        RecipeError: a network of frozen parts has no weights to start from.
    """
    for network in plan.networks:
        frozen = plan.recipe_of(network).schedule(architecture_of(network)).frozen
        if frozen and network not in plan.pretrained:
            raise RecipeError(
                f"Recipe {plan.recipe.name!r} freezes parts of {network}, which were never "
                f"trained; give --pretrained {network}=FILE, or choose others with --networks."
            )


def _default_jobs() -> int:
    return 1 if torch.cuda.is_available() else min(_MOST_JOBS, len(os.sched_getaffinity(0)))


def _say_costs(plan: Plan, costs: Sequence[Cost], jobs: int, console: Console) -> None:
    if not costs:
        console.print("Every network is trained already.")
        return
    table = Table("work", "ms a film", "min each time", "times left", "min in all")
    for cost in costs:
        table.add_row(
            cost.work,
            f"{1000 * cost.seconds_per_film:.0f}",
            f"{cost.seconds / 60:.1f}",
            str(cost.left),
            f"{cost.seconds * cost.left / 60:.0f}",
        )
    minutes = sum(cost.seconds * cost.left for cost in costs) / 60 / jobs
    console.print(table)
    console.print(
        f"Training will take about {minutes:.0f} minutes with {jobs} at a time, if nothing else "
        "runs here. It may be stopped and started again at any time."
    )
    if any(plan.caches(network) for network in plan.networks):
        console.print(
            f"What frozen parts make of the films is kept in {plan.features_folder}; delete it "
            "when the study is done."
        )
