"""`cxrexport train`: films and a recipe → a run folder with checkpoints."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrclient.cli import Formatter, console
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.cli.options.recipe import RecipeName, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from cxrexport.manifest import FilmRow
    from cxrexport.training.run import Run


_ALL = "all"


def _trainable(name: str) -> str:
    """Accept `all` and what can be trained; the list is the networks' own, and needs torch."""
    if name != _ALL:
        from cxrexport.training.run import NETWORKS

        if name not in NETWORKS:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join((*NETWORKS, _ALL))}.")
    return name


@dataclass(frozen=True)
class _Options:
    network: str
    manifest: Path
    output: Path
    recipe: str
    settings: tuple[str, ...]
    root: Path | None
    pretrained: str | None
    init: Path | None
    freeze: bool
    lungs: str | None


def train(
    network: Annotated[
        str,
        typer.Argument(
            callback=_trainable,
            help="segment (the lungs'), a backbone (resnet34, resnet50, resnet152, vgg16, "
            "densenet121, or one that you added), or all: the lungs' and the recipe's members.",
        ),
    ],
    manifest: Annotated[Path, typer.Option(help="CSV of films; see `cxrexport data`.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The run's folder, e.g. runs/NAME.")
    ],
    recipe: RecipeName = "starter",
    settings: Settings = None,
    root: Annotated[
        Path | None, typer.Option(help="The folder that the manifest's paths are relative to.")
    ] = None,
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|FILE|imagenet",
            help="The folder of `cxrexport weights fetch` or a file of it; a torchvision "
            "checkpoint; or imagenet (torchvision's, downloaded; width 1.0).",
        ),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Another run to start from (fine-tuning).")
    ] = None,
    freeze: Annotated[
        Literal["features"] | None,
        typer.Option(help="With --init or --pretrained: only the head learns then."),
    ] = None,
    lungs: Annotated[
        str | None,
        typer.Option(
            help="Whose lung network the backbones stand behind, as it is: starter, or the folder "
            "of a run or of a repository. Without masks in the manifest: starter."
        ),
    ] = None,
) -> None:
    """Train a network. Run the command again to go on after a stop.

    The lung network (segment) comes first, because the backbones use its maps. `all` trains it on
    the manifest's masks, unless the run has one already; with --init or --lungs it is taken over
    unchanged, and where the manifest has no masks that of the shipped repository is.
    On several GPUs: `torchrun --nproc_per_node N -m cxrexport train …`.
    """
    with errors_as_exit_codes():
        from cxrclient.errors import FilmError
        from cxrclient.files import MemoryUse, keep_freed_memory
        from cxrexport.errors import CxrExportError
        from cxrexport.training.processes import agree, is_first, joined

        keep_freed_memory(MemoryUse.TENSORS)
        options = _Options(
            network=network,
            manifest=manifest,
            output=output,
            recipe=recipe,
            settings=tuple(settings or ()),
            root=root,
            pretrained=pretrained,
            init=init,
            freeze=freeze is not None,
            lungs=lungs,
        )
        with joined():
            talk = console(stderr=True, quiet=not is_first())
            try:
                if is_first():
                    _log_to(talk)
                with ExitStack() as held:
                    agree(lambda: held.enter_context(_alone_in(output)))
                    _train(options, talk)
            except (CxrExportError, FilmError) as error:
                if is_first():
                    raise
                raise typer.Exit(error.exit_code) from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a run's folder: two trainings would write into each other's states and checkpoints."""
    from cxrclient.files import only_one
    from cxrexport.errors import RecipeError

    folder.mkdir(parents=True, exist_ok=True)
    busy = RecipeError(
        f"Another `cxrexport train` works in {folder}; wait for it to end, or choose another "
        "--output."
    )
    with only_one(folder, busy):
        yield


def _log_to(console: Console) -> None:
    import logging

    from rich.logging import RichHandler

    handler = RichHandler(console=console, show_path=False)
    handler.setFormatter(Formatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("cxrexport").setLevel(logging.INFO)


def _train(options: _Options, console: Console) -> None:
    from monai.data import set_track_meta

    from cxrexport.training.classify import cache_for_backbones, start_backbone, train_backbone
    from cxrexport.training.films import cache_films
    from cxrexport.training.processes import agree
    from cxrexport.training.recipe import load_recipe
    from cxrexport.training.run import NETWORKS, Run, note_films
    from cxrexport.training.segment import start_segment, train_segment

    set_track_meta(False)
    recipe = load_recipe(options.recipe, options.settings)
    run = agree(lambda: Run(options.output, recipe))
    # Everything that can be wrong is found before the first hour of training.
    there = agree(lambda: [name for name in NETWORKS if run.folder(name).complete])
    agree(lambda: _take_over_lungs(options, run, console))
    waiting = _waiting(options.network, run, there, console)
    lungs, backbones = waiting[:1] == ["segment"], [n for n in waiting if n != "segment"]
    started = {
        name: start_backbone(
            name, run, options.pretrained, init=options.init, freeze=options.freeze
        )
        for name in backbones
    }
    segment = start_segment(run, options.init) if lungs else None
    if not waiting:
        return
    if backbones and not lungs and run.recipe.needs_lungs:
        run.load("segment")  # raises where there is none
    rows = agree(lambda: _check_films(options, run, lungs, bool(backbones), console))
    agree(lambda: note_films(run, waiting, rows))
    if segment is not None:
        masked = cache_films(rows, run.recipe, console, masks=True)
        _report(train_segment(run, masked, console, segment), console)
    if backbones:
        films = cache_for_backbones(run, rows, console)
        for name in backbones:
            _report(train_backbone(name, started.pop(name), run, films, console), console)


def _take_over_lungs(options: _Options, run: Run, console: Console) -> None:
    """Take the lung network that is named, the other run's, or without masks the shipped one.

    Raises:
        CheckpointError: it cannot be had or does not fit.
        RecipeError: the run has another one, or one is to be trained and named at once.
        ManifestError: rows that cannot be understood.
    """
    from cxrexport.ensemble import SEGMENT
    from cxrexport.errors import RecipeError
    from cxrexport.manifest import raise_problems, scan_manifest
    from cxrexport.training.run import STARTER, given_lungs, take_over_lungs

    begun = run.folder(SEGMENT).begun
    if options.network == SEGMENT and options.lungs is not None:
        raise RecipeError("--lungs brings a lung network, segment trains one; leave out one.")
    if options.network == SEGMENT or not run.recipe.needs_lungs:
        return
    if options.lungs is None and (begun or options.init is not None):
        if not begun and options.init is not None:
            take_over_lungs(run, options.init)
        return
    rows, problems = scan_manifest(options.manifest, root=options.root)
    raise_problems(problems)
    if options.lungs is not None or not any(row.mask for row in rows):
        given = given_lungs(options.lungs or STARTER)
        given.take(run)
        console.print(given.note(rows, run.recipe.spec.size_px), markup=False, highlight=False)


def _waiting(network: str, run: Run, there: Sequence[str], console: Console) -> list[str]:
    """Name the wanted networks that are not trained yet, the lung network first.

    Args:
        network: one, or `all`.
        run: where they go.
        there: the networks that it had before this command, which are told of.
        console: where that is said.
    """
    from cxrexport.ensemble import SEGMENT

    wanted = [network]
    if network == _ALL:
        wanted = [*([SEGMENT] if run.recipe.needs_lungs else ()), *run.recipe.served]
    waiting = [name for name in wanted if not run.folder(name).complete]
    for name in wanted:
        if name in there:
            console.print(
                f"{name} is trained already. To train it again, delete {run.folder(name).path}."
            )
    return waiting


def _check_films(
    options: _Options, run: Run, masks: bool, labels: bool, console: Console
) -> Sequence[FilmRow]:
    """Read the manifest, look into every film, and where it has no splits take the run's or draw.

    Raises:
        ManifestError: every problem of cells, films and splits at once.
    """
    from cxrexport.manifest import check_splits, raise_problems, scan_manifest
    from cxrexport.manifest.films import check_films

    path, known = options.manifest, run.recipe.labels if labels else None
    # The lung network learns from films of any class.
    classes = known or ()
    with console.status("Checking the films"):
        rows, problems = scan_manifest(path, root=options.root, labels=known, need_mask=masks)
        raise_problems([*problems, *check_films(rows, path, classes)])
    split = _with_splits(options, run, rows, console)
    raise_problems(check_splits(split, path, classes))
    return split


def _with_splits(
    options: _Options, run: Run, rows: Sequence[FilmRow], console: Console
) -> Sequence[FilmRow]:
    """Give every film its split, and say where it comes from.

    Raises:
        ManifestError: only some rows have a split, or nothing is left to learn from or choose by.
    """
    from cxrexport.training.films import with_splits
    from cxrexport.training.run import SPLITS, Run as AnyRun, draw_splits, splits_in_words

    seed = run.recipe.seed
    if any(row.split for row in rows):
        origin = f"those of {options.manifest}"
    else:
        runs = [run, *([AnyRun.open(options.init)] if options.init is not None else [])]
        there = [each.path / SPLITS for each in runs if (each.path / SPLITS).is_file()]
        origin = f"drawn by patient with seed {seed}"
        if there:
            known = " and ".join(map(str, there))
            origin = f"those of {known}, other patients {origin}"
        rows = draw_splits(rows, runs, seed)
    splits = with_splits(rows, seed)
    console.print(f"Splits: {origin} ({splits_in_words(splits)}); kept in {run.path / SPLITS}.")
    return splits


def _report(metrics: dict[str, Any], console: Console) -> None:
    from cxrexport.training.history import figures_in_words

    test = metrics["test"]
    judged = "there are no test films"
    if test is not None:
        figures = figures_in_words({name: test[name] for name in test if name != "n"})
        films = "1 test film" if test["n"] == 1 else f"{test['n']} test films"
        judged = f"on {films}, {figures}"
    console.print(
        f"{metrics['network']}: best epoch {metrics['best_epoch']} of {metrics['epochs']}; "
        f"{metrics['seconds_per_epoch']} s an epoch, {metrics['ms_per_film']} ms a film; {judged}.",
        highlight=False,
    )
