"""`cxrexport admission`: fits the gate of a repository to the films that it should let through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrclient.cli import bar_columns, console, say
from cxrexport.cli.exits import errors_as_exit_codes
from cxrexport.cli.options.repository import Repository


def admission(
    repository: Repository,
    manifest: Annotated[
        list[Path],
        typer.Option(
            metavar="CSV",
            help="Frontal chest films that the networks learnt from; test films are passed over. "
            "Repeatable.",
        ),
    ],
    share: Annotated[
        float,
        typer.Option(
            min=0.05, max=1.0, help="Share of the patients to use; the others can test the gate."
        ),
    ] = 1.0,
    false_alarm_rate: Annotated[
        float,
        typer.Option(
            min=0.0005, max=0.2, help="Share of these films that one threshold may turn away."
        ),
    ] = 0.005,
) -> None:
    """Show the gate of a repository the films that it should let through.

    The gate then turns away films that are unlike these. It keeps thresholds and means of groups of
    embeddings, but no film and no name. The graphs and the model digest do not change. Without this
    command the gate judges by the header, rectangles and writing only.
    """
    with errors_as_exit_codes():
        from rich.progress import Progress

        from cxrclient.serving import find_repository
        from cxrexport.evaluation.gate import fit_admission

        place = find_repository(repository)
        talk = console(stderr=True)
        with Progress(*bar_columns(), console=talk) as progress:
            task = progress.add_task("films", total=None)
            reference = fit_admission(
                place,
                manifest,
                share=share,
                false_alarm_rate=false_alarm_rate,
                advance=lambda films: progress.update(task, total=films, advance=1),
            )
        say(
            f"{place}: the gate knows {reference.films} films of {reference.patients} "
            f"patients; each threshold turns away {reference.false_alarm_rate:.1%} of them.",
            err=False,
        )
