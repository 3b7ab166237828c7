"""`cxrexport study`: the paper's study on your own films, from the splits to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.cli.options.recipe import RecipeName, Settings


def study(
    manifest: Annotated[Path, typer.Option(help="CSV of films. Its splits are not used.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The study's folder. Run the command again to go on."),
    ],
    recipe: RecipeName = "starter",
    settings: Settings = None,
    splits: Annotated[int, typer.Option(min=1, help="Random patient-wise 85/15 splits.")] = 10,
    folds: Annotated[
        Path | None,
        typer.Option(help="CSV with patient_id,fold, for cross-validation in place of splits."),
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option(
            help="Networks of Table 2, separated by commas. Default: all; of a recipe that freezes "
            "parts, its members."
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The folder that the manifest's paths are relative to.")
    ] = None,
    leave_source_out: Annotated[
        bool,
        typer.Option(
            "--leave-source-out", help="One trial a source: learn from the others, test on it."
        ),
    ] = False,
    mask_to_lungs: Annotated[
        bool,
        typer.Option(
            "--mask-to-lungs", help="The networks see nothing but the lungs (input: masked)."
        ),
    ] = False,
    lungs: Annotated[
        str | None,
        typer.Option(
            help="Whose lung network serves every trial: starter, or the folder of a run or of a "
            "repository. Default: one is trained a trial; without masks in the manifest, starter."
        ),
    ] = None,
    pretrained: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR|NETWORK=FILE",
            help="The folder of `cxrexport weights fetch`, NETWORK=FILE or NETWORK=imagenet. "
            "Repeatable.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes. Default: one for each core, or one if there is a GPU."
        ),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples for each interval.")] = 2000,
    evaluate_only: Annotated[
        bool, typer.Option(help="Train nothing. Evaluate the trials that are complete so far.")
    ] = False,
    train_only: Annotated[bool, typer.Option(help="Train only. Evaluate in a later call.")] = False,
) -> None:
    """Train and evaluate over splits, folds or sources; write metrics.json and report.html."""
    with errors_as_exit_codes():
        from cxrexport.study.command import StudyOptions, run_study

        run_study(
            StudyOptions(
                manifest=manifest,
                output=output,
                recipe=recipe,
                settings=tuple(settings or ()),
                splits=splits,
                folds=folds,
                networks=networks,
                root=root,
                leave_source_out=leave_source_out,
                mask_to_lungs=mask_to_lungs,
                lungs=lungs,
                pretrained=tuple(pretrained or ()),
                jobs=jobs,
                bootstrap=bootstrap,
                evaluate_only=evaluate_only,
                train_only=train_only,
            )
        )
