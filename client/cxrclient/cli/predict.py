"""`cxrclient predict`: films → probabilities, masks and overlays."""

from __future__ import annotations

import enum
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from cxrclient.cli._signals import sigterm_as_interrupt
from cxrclient.cli.exits import Exit, errors_as_exit_codes
from cxrclient.errors import CxrClientError, FilmError, ServerUnreachable, UsageError

if TYPE_CHECKING:
    from cxrclient.cli._pictures import Pictures
    from cxrclient.client import CxrClient
    from cxrclient.prediction import Prediction
    from cxrclient.sources import FilmSearch

    Result = Prediction | FilmError


class Format(enum.StrEnum):
    """How results are written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    films: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES|FOLDERS|GLOBS...",
            help="Films (DICOM, PNG, JPEG), folders with all that is below them, quoted globs.",
            show_default=False,
        ),
    ],
    server: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The server's gRPC address, or CXR_SERVER.",
            show_default="localhost:8001",
        ),
    ] = None,
    output_format: Annotated[
        Format, typer.Option("--format", help="A table for people, lines for programs.")
    ] = Format.TABLE,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write results here instead of stdout.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each film's lung mask here, at the film's size."),
    ] = None,
    overlays: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each film with lung contour and heatmap here."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Films in flight at most, or CXR_JOBS.", show_default="8"),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="The most that one film may take, or CXR_TIMEOUT_S.",
            show_default="120",
        ),
    ] = None,
) -> None:
    """Predict films: probability, label, votes of the members, lungs; in the order given.

    Inside folders, files that are evidently no films, and masks and overlays of earlier runs, are
    passed over.

    Exit code 0: every film has a prediction. 3: some were rejected or failed; each says why.
    5: no server answers, or it went away. 2: wrong usage. 1: anything else.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        from cxrclient.cli._pictures import Pictures
        from cxrclient.client import CxrClient
        from cxrclient.settings import client_settings
        from cxrclient.sources import FilmSearch

        settings = client_settings(server, jobs, timeout)
        search = FilmSearch(films)
        sources = _at_least_one(search)
        pictures = Pictures(masks, overlays)
        with CxrClient(settings.server, jobs=settings.jobs, timeout_s=settings.timeout_s) as client:
            fates = _predict_all(client, sources, output_format, output, pictures)
        _say_what_happened(fates, search, pictures.renamed)
        raise typer.Exit(_exit_code(fates))


def _at_least_one(search: FilmSearch) -> Iterator[str | FilmError]:
    """The films of a search, found as they are asked for.

    Raises:
        UsageError: there is none; at once, before a server is asked for anything.
    """
    sources = iter(search)
    first = next(sources, None)
    if first is None:
        where = ", ".join(search.unmatched) or "the folders given"
        passed_over = f"; {search.passed_over} files there are no films" * bool(search.passed_over)
        raise UsageError(f"No film in {where}{passed_over}. Name DICOM, PNG or JPEG files.")
    return chain([first], sources)


def _predict_all(
    client: CxrClient,
    sources: Iterable[str | FilmError],
    output_format: Format,
    output: Path | None,
    pictures: Pictures,
) -> Counter[str]:
    """Write every result as it comes; count `ok`, and the statuses and codes of the others."""
    from cxrclient.cli._results import result_writer

    fates: Counter[str] = Counter()
    ensemble = client.model
    with _opened(output) as stream:
        writer = result_writer(output_format, stream, ensemble)
        try:
            results = client.predict_many(sources, maps=pictures.wanted)
            for result in _with_progress(results, stream):
                writer.add(result)
                pictures.add(result, ensemble)
                if isinstance(result, FilmError):
                    fates.update((result.status, result.code))
                else:
                    fates["ok"] += 1
        finally:
            writer.close()
    if output_format is not Format.TABLE:
        typer.secho(ensemble.notice, err=True, bold=True)
    return fates


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        # A path may hold bytes that are no text; they must not end the run.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CxrClientError(f"Cannot write {output}: {reason}.") from error


def _with_progress(results: Iterator[Result], stream: TextIO) -> Iterator[Result]:
    """Count films on stderr, where a person looks on and no lines of results run through."""
    if not sys.stderr.isatty() or stream.isatty():
        yield from results
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed} films"), TimeElapsedColumn())
    # Left alone, rich would send what is printed to stdout to its own console, which is stderr.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task("films", total=None)
        for result in results:
            yield result
            progress.advance(task)


def _say_what_happened(fates: Counter[str], search: FilmSearch, renamed: int) -> None:
    total = fates["ok"] + fates["rejected"] + fates["failed"]
    if fates["ok"] < total:
        counts = f"{fates['ok']} predicted, {fates['rejected']} rejected, {fates['failed']} failed"
        typer.echo(f"{total} films: {counts}.", err=True)
    if search.passed_over:
        typer.echo(f"Passed over in folders: {search.passed_over} files, no films.", err=True)
    for pattern in search.unmatched:
        typer.echo(f"Nothing matches {pattern}.", err=True)
    if renamed:
        typer.echo(
            f"{renamed} pictures have a number added to their name: the film's own was taken.",
            err=True,
        )


def _exit_code(fates: Counter[str]) -> Exit:
    if fates[ServerUnreachable.code]:
        return Exit.NO_SERVER
    return Exit.SOME_FILMS if fates["rejected"] or fates["failed"] else Exit.OK
