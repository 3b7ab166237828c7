"""`cxrexport admission`: fits the gate of a repository to the films that it should let through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrclient.cli import console, say
from cxrexport.cli.exits import errors_as_exit_codes


def admission(
    repository: Annotated[Path, typer.Option(metavar="DIR", help="The model repository.")],
    manifest: Annotated[
        list[Path],
        typer.Option(
            metavar="CSV", help="Frontal chest films that it learnt from; may be given again."
        ),
    ],
    share: Annotated[
        float,
        typer.Option(
            min=0.05, max=1.0, help="Of the patients, by name; the others can judge the gate."
        ),
    ] = 1.0,
    false_alarm_rate: Annotated[
        float,
        typer.Option(min=0.0005, max=0.2, help="Share of such films a threshold may turn away."),
    ] = 0.005,
) -> None:
    """Tell a repository which films it knows, so that it turns others away.

    Thresholds and means of groups of embeddings are kept, no film and no name; the graphs and the
    model digest stay as they are. Without it the gate judges by the header, rectangles and writing
    alone.
    """
    with errors_as_exit_codes():
        from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

        from cxrexport.evaluation.gate import fit_admission

        talk = console(stderr=True)
        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=talk) as progress:
            task = progress.add_task("films", total=None)
            reference = fit_admission(
                repository,
                manifest,
                share=share,
                false_alarm_rate=false_alarm_rate,
                advance=lambda films: progress.update(task, total=films, advance=1),
            )
        say(
            f"{repository}: the gate knows {reference.films} films of {reference.patients} "
            f"patients; each threshold turns {reference.false_alarm_rate:.1%} of such films away.",
            err=False,
        )
