"""`cxrexport evaluate`: what one trained set of networks is worth on a manifest's films."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrexport.cli.exits import errors_as_exit_codes


def evaluate(
    manifest: Annotated[Path, typer.Option(help="CSV of films with labels.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for the report and its files."),
    ],
    run: Annotated[Path | None, typer.Option(help="A run of `cxrexport train`.")] = None,
    repository: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|NAME",
            help="Or evaluate a model repository: a folder, or the name of one that comes with "
            "cxr-triton.",
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The folder that the manifest's paths are relative to.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples for each interval.")] = 2000,
    before: Annotated[
        Path | None,
        typer.Option(help="The run before fine-tuning; by default that of `train --init`."),
    ] = None,
) -> None:
    """Evaluate a run or a model repository; write report.html, metrics.json, tables and scores.

    If the manifest has splits, the test films are judged, the validation films calibrate, and the
    training films are the neighbours. Without splits a run's own are taken (its splits.csv); films
    that the run never saw, and all films of a repository, are test films.
    """
    with errors_as_exit_codes():
        from cxrclient.serving import find_repository
        from cxrexport.study.evaluate import EvaluateOptions, run_evaluation

        run_evaluation(
            EvaluateOptions(
                manifest=manifest,
                output=output,
                run=run,
                repository=None if repository is None else find_repository(repository),
                root=root,
                bootstrap=bootstrap,
                before=before,
            )
        )
