"""`cxrexport train`: films and a recipe → a run folder with checkpoints."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrexport.cli.exits import errors_as_exit_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cxrexport.manifest import FilmRow


class Network(enum.StrEnum):
    """What can be trained."""

    SEGMENT = "segment"
    RESNET34 = "resnet34"
    RESNET50 = "resnet50"
    RESNET152 = "resnet152"
    VGG16 = "vgg16"
    ALL = "all"


def train(
    network: Annotated[Network, typer.Argument(help="One network, or all in their order.")],
    manifest: Annotated[Path, typer.Option(help="CSV of films; see `cxrexport data`.")],
    output: Annotated[Path, typer.Option(help="The run's folder, e.g. runs/NAME.")],
    recipe: Annotated[str, typer.Option(help="starter, paper, or a YAML file.")] = "starter",
    root: Annotated[
        Path | None, typer.Option(help="Folder that the manifest's paths start from.")
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="imagenet, or a torchvision checkpoint's path (width 1.0).")
    ] = None,
) -> None:
    """Train a network; call it again to resume after a stop.

    The lung network (segment) comes first: the backbones look at its maps. `all` trains it on the
    manifest's masks unless the run has it already.
    """
    with errors_as_exit_codes():
        import logging

        from rich.console import Console
        from rich.logging import RichHandler

        from cxrexport.training.memory import keep_freed_memory

        keep_freed_memory()
        console = Console(stderr=True)
        logging.basicConfig(
            level=logging.WARNING,
            format="%(message)s",
            handlers=[RichHandler(console=console, show_path=False)],
        )
        logging.getLogger("cxrexport").setLevel(logging.INFO)
        _train(network, manifest, output, recipe, root, pretrained, console)


def _train(
    network: Network,
    manifest: Path,
    output: Path,
    recipe: str,
    root: Path | None,
    pretrained: str | None,
    console: Console,
) -> None:
    from monai.data import set_track_meta

    from cxrexport.manifest import read_manifest
    from cxrexport.training.recipe import load_recipe
    from cxrexport.training.run import NETWORKS, Run

    set_track_meta(False)
    run = Run(output, load_recipe(recipe))
    wanted = NETWORKS if network is Network.ALL else (network.value,)
    waiting = [name for name in wanted if not run.folder(name).complete]
    for name in sorted(set(wanted) - set(waiting)):
        console.print(
            f"{name} is trained already; delete {run.folder(name).path} to train it anew."
        )
    # Everything that can be wrong is found before the first hour of training.
    backbones = [name for name in waiting if name != "segment"]
    labels = run.recipe.labels if backbones else None
    rows: Sequence[FilmRow] = read_manifest(
        manifest, root=root, labels=labels, need_mask="segment" in waiting
    )
    started = {}
    if backbones:
        from cxrexport.training.classify import (
            cache_for_backbones,
            require_both_classes,
            start_backbone,
            train_backbone,
        )

        rows = require_both_classes(rows, run.recipe)
        started = {name: start_backbone(name, run, pretrained) for name in backbones}
    if "segment" in waiting:
        from cxrexport.training.films import cache_films, with_splits
        from cxrexport.training.segment import train_segment

        masked = cache_films(with_splits(rows, run.recipe.seed), run.recipe, console)
        _report(train_segment(run, masked, console), console)
    if backbones:
        films = cache_for_backbones(run, rows, console)
        for name in backbones:
            _report(train_backbone(name, started.pop(name), run, films, console), console)


def _report(metrics: dict[str, object], console: Console) -> None:
    best, test = metrics["best_epoch"], metrics["test"]
    console.print(f"{metrics['network']}: best epoch {best}; test {test}")
