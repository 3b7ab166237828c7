"""`cxrexport quantise`: an int8 variant of a repository, judged on held-out films."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli import bar_columns, console, say
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.cli.options.repository import Repository

if TYPE_CHECKING:
    from cxrexport.quantise import Accuracy


def quantise(
    repository: Repository,
    manifest: Annotated[
        Path,
        typer.Option(
            metavar="CSV",
            help="Films with labels. The train split calibrates; test and validation judge.",
        ),
    ],
    films: Annotated[int, typer.Option(min=1, help="How many films to calibrate on.")] = 300,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write a copy of the repository here; by default change it.",
        ),
    ] = None,
    accept_unjudged: Annotated[
        bool,
        typer.Option(
            "--accept-unjudged",
            help="Keep the result even if the films that judge it are all of one class.",
        ),
    ] = False,
) -> None:
    """Quantise the backbones to int8, report the loss of accuracy, and keep them if it is small.

    If the ensemble's AUC on the test and validation films falls by more than 0.005, nothing is
    written. Serve the result with `cxrclient serve --precision int8`.
    """
    with errors_as_exit_codes():
        from rich.progress import Progress

        from cxrclient.serving import find_repository
        from cxrexport.errors import QuantisationError
        from cxrexport.quantise import quantise_repository

        source = find_repository(repository)
        talk = console(stderr=True)
        with Progress(*bar_columns(), console=talk) as progress:
            tasks = {}

            def advance(what: str, total: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(what, total=total)
                progress.advance(tasks[what])

            try:
                made = quantise_repository(
                    source,
                    manifest,
                    films=films,
                    output=output,
                    accept_unjudged=accept_unjudged,
                    advance=advance,
                )
            except QuantisationError as error:
                if error.accuracy is not None:
                    progress.stop()
                    _print(error.accuracy)
                raise
        _print(made.accuracy)
        place = output or source
        say(
            f"{place}: int8 graphs from {made.record.calibration_films} calibration films. Serve "
            f"them with `cxrclient serve --model-repository {place} --precision int8`.",
            err=False,
        )
        if made.accuracy.auc_fall is None:
            say(
                "Not judged, because all films are of one class. Whether int8 still separates the "
                "classes is not known."
            )


def _print(accuracy: Accuracy) -> None:
    from rich.table import Table

    title = f"{accuracy.films} held-out films, {accuracy.positives} positive"
    table = Table("", "f32", "int8", "largest |Δp|", title=title)

    def area(value: float | None) -> str:
        return "none" if value is None else f"{value:.4f}"

    for name, largest in accuracy.members_largest_difference.items():
        areas = (side.get(name) for side in (accuracy.members_auc_f32, accuracy.members_auc_int8))
        table.add_row(f"AUC, {name}", *map(area, areas), f"{largest:.4f}")
    table.add_section()
    table.add_row(
        "AUC, ensemble",
        area(accuracy.auc_f32),
        area(accuracy.auc_int8),
        f"{accuracy.largest_difference:.4f}",
    )
    out = console()
    out.print(table)
    for line in (
        f"mean |Δp| of the ensemble {accuracy.mean_difference:.4f}; labels changed "
        f"{accuracy.labels_changed} of {accuracy.films}",
        f"embedding, cosine to its f32 self: least {accuracy.embedding_cosine_min:.4f}, mean "
        f"{accuracy.embedding_cosine_mean:.4f}",
        f"heatmap (0..1), mean |Δ| over the map: worst film {accuracy.heatmap_largest_drift:.4f}, "
        f"mean {accuracy.heatmap_mean_drift:.4f}",
    ):
        out.print(line)
