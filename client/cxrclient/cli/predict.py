"""`cxrclient predict`: films → probabilities, masks and overlays."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrclient.cli.exits import errors_as_exit_codes, exit_of
from cxrclient.cli.options.server import (
    Films,
    Jobs,
    RetryFor,
    Secured,
    Server,
    Summary,
    Timeout,
    open_client,
    with_secured,
)
from cxrclient.cli.signals import sigterm_as_interrupt
from cxrclient.cli.terminal import say
from cxrclient.errors import UsageError

if TYPE_CHECKING:
    from collections import Counter

ResultFormat = Literal["table", "jsonl", "csv"]


@with_secured
def predict(
    films: Films,
    server: Server = None,
    *,
    secured: Secured,
    output_format: Annotated[
        ResultFormat | None,
        typer.Option(
            "--format",
            help="table is for people, jsonl and csv are for programs.",
            show_default="table, or by the ending of --output",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write results here instead of stdout."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the results in --output FILE.jsonl. Predict only the films that have "
            "no result there, that failed, or that changed.",
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the results that are in --output FILE."),
    ] = False,
    summary: Summary = None,
    masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each film's lung mask here, at the film's size."),
    ] = None,
    overlays: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each film with lung contour and heatmap here."),
    ] = None,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate/--no-gate",
            help="--gate: films that the server turns away (no chest film, a picture beside the "
            "film, …) get no prediction. --no-gate: they get one, with the reasons as warnings.",
        ),
    ] = True,
    jobs: Jobs = None,
    timeout: Timeout = None,
    retry_for: RetryFor = None,
) -> None:
    """Predict films, in the order given: probability, label, votes of the members, lungs.

    In folders, files that are clearly not films are skipped, and so are the masks and overlays of
    earlier runs.

    To continue a long run that was killed, run the same command with --resume. Each line of
    FILE.jsonl says which file, model and gate it is for. A film's pictures are written before its
    line.

    Exit code 0: every film has a prediction. 3: some films were rejected or failed; each says why.
    5: no server answers, or it went away. 2: wrong usage. 1: anything else.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        kind = _kind(output_format, output)
        if resume and (output is None or kind != "jsonl"):
            raise UsageError("--resume needs --output FILE.jsonl, the results to go on with.")
        if output:
            _refuse_to_replace(output, kind, resume=resume, overwrite=overwrite)

        from cxrclient.cli.output.pictures import Pictures
        from cxrclient.cli.output.summary import say_what_was_no_film
        from cxrclient.cli.predict_run import PredictRun
        from cxrclient.files import MemoryUse, keep_freed_memory
        from cxrclient.films import FilmSearch
        from cxrclient.runs import RunSummary, require_writable
        from cxrclient.settings import client_settings

        keep_freed_memory(MemoryUse.FILMS)
        settings = client_settings(server, jobs, timeout, retry_for, **secured)
        search = FilmSearch(films)
        sources = search.at_least_one()
        require_writable(summary)
        pictures = Pictures(masks, overlays, search.arguments)
        told = RunSummary(
            "predict", {"films": films, "resume": resume, "gate": gate, **settings.model_dump()}
        )
        run = PredictRun(
            told=told,
            pictures=pictures,
            search=search,
            kind=kind,
            output=output,
            resume=resume,
            replace=overwrite,
        )
        with closing(pictures), open_client(settings, gate=gate) as client:
            run.predict(client, sources, gate=gate, summary=summary)
        if kind != "table":
            say(client.model.notice, bold=True)
        _say_what_happened(told.fates, told.kept.total())
        say_what_was_no_film(search)
        if pictures.renamed:
            have = "picture has" if pictures.renamed == 1 else "pictures have"
            say(
                f"{pictures.renamed} {have} a number added to the name, because the name was taken."
            )
        raise typer.Exit(exit_of(told.fates))


def _kind(asked: ResultFormat | None, output: Path | None) -> ResultFormat:
    endings: dict[str, ResultFormat] = {".jsonl": "jsonl", ".csv": "csv"}
    named = endings.get(output.suffix.lower()) if output else None
    if asked and named and asked != named:
        raise UsageError(
            f"{output} ends in .{named}, which is not --format {asked}. "
            "Leave --format out, or give the file another ending."
        )
    return asked or named or "table"


def _refuse_to_replace(output: Path, kind: str, *, resume: bool, overwrite: bool) -> None:
    """A night's results must not end because a command was entered twice."""
    if resume and overwrite:
        raise UsageError("--resume goes on with results, --overwrite replaces them. Give only one.")
    if resume or overwrite or not _has_content(output):
        return
    go_on = "--resume goes on with them, " if kind == "jsonl" else ""
    raise UsageError(
        f"{output} has results already: {go_on}--overwrite replaces them. Or name another file."
    )


def _has_content(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:  # opening it will tell
        return False


def _say_what_happened(fates: Counter[str], kept: int) -> None:
    total = fates["ok"] + fates["rejected"] + fates["failed"]
    if fates["ok"] < total or kept:
        counts = f"{fates['ok']} predicted, {fates['rejected']} rejected, {fates['failed']} failed"
        earlier = f"; {kept} of them by earlier runs" if kept else ""
        films = "1 film" if total == 1 else f"{total} films"
        say(f"{films}: {counts}{earlier}.")
