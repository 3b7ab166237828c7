"""`cxrclient predict`: films → probabilities, masks and overlays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes, exit_of
from cxrclient.cli.options.archive import Access, with_access
from cxrclient.cli.options.dicom import Objects, with_objects
from cxrclient.cli.options.metadata import Site
from cxrclient.cli.options.pages import ArchiveFilms, ArchiveMaps, Names
from cxrclient.cli.options.piles import Films, Pile, with_pile
from cxrclient.cli.options.server import (
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
from cxrclient.cli.terminal import counted, say
from cxrclient.errors import UsageError

if TYPE_CHECKING:
    from collections import Counter

    from cxrclient.archive import FilmMetadata

ResultFormat = Literal["table", "jsonl", "csv"]


@with_access
@with_secured
@with_objects
@with_pile
def predict(
    films: Films = None,
    server: Server = None,
    *,
    pile: Pile,
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
        typer.Option("--output", "-o", metavar="FILE", help="Write results here; - is stdout."),
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
    objects: Objects,
    embeddings: Annotated[
        bool,
        typer.Option(
            "--embeddings",
            help="Keep each film's embedding in the results, for `index --results`. jsonl only.",
        ),
    ] = False,
    maps: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep lungs, heatmap and film as the networks saw it here (.npz), for "
            "`report --results`. jsonl only.",
        ),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Also put the films into this archive, as `cxrclient index` does: FILE.db or "
            "http(s)://HOST:PORT.",
        ),
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(metavar="CSV", help="As of `cxrclient index`; needs --index.")
    ] = None,
    hash_uids: Annotated[
        bool, typer.Option("--hash-uids", help="As of `cxrclient index`; needs --index.")
    ] = False,
    site: Site = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write a page of the films, as `cxrclient report` does; with --index, with "
            "the nearest films of the archive.",
        ),
    ] = None,
    archive_films: ArchiveFilms = None,
    archive_maps: ArchiveMaps = None,
    names: Names = True,
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
    access: Access,
) -> None:
    """Predict films, in the order given: probability, label, votes of the members, lungs.

    In folders, files that are clearly not films are skipped, and so are the masks and overlays of
    earlier runs.

    To continue a long run that was killed, run the same command with --resume. Each line of
    FILE.jsonl says which file, model and gate it is for. A film's pictures are written before its
    line.

    Films can be predicted once for everything: results, masks, overlays, an archive (--index) and a
    page (--html).

    Exit code 0: every film has a prediction. 3: some films were rejected or failed; each says why.
    5: no server answers, or it went away. 2: wrong usage. 1: anything else.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        output = None if output == Path("-") else output  # stdout
        kind = _kind(output_format, output)
        if resume and (output is None or kind != "jsonl"):
            raise UsageError("--resume needs --output FILE.jsonl, the results to go on with.")
        _refuse_what_does_not_fit(
            kind,
            stored=bool(embeddings or maps),
            again=resume and "-" in (films or ()),
            page_again=resume and html is not None,
            to_stdout=html == Path("-"),
            no_archive=index is None
            and bool(metadata or hash_uids or site or archive_films or archive_maps),
        )
        objects.require_archive(index)
        if output:
            _refuse_to_replace(output, kind, resume=resume, overwrite=overwrite)

        from cxrclient.cli.options.metadata import known_of
        from cxrclient.cli.output.pictures import Pictures
        from cxrclient.cli.output.summary import say_what_was_no_film
        from cxrclient.cli.predict_run import PredictRun
        from cxrclient.files import MemoryUse, keep_freed_memory, private_folder
        from cxrclient.runs import RunSummary, require_writable
        from cxrclient.settings import client_settings

        keep_freed_memory(MemoryUse.FILMS)
        settings = client_settings(server, jobs, timeout, retry_for, **secured)
        search = pile.search(films)
        sources = search.at_least_one()
        known: dict[str, FilmMetadata] = {}
        if metadata is not None:  # matched to all films before the first one is sent
            found = list(sources)
            sources, known = iter(found), known_of(metadata, found)
        require_writable(summary)
        page = None
        if html is not None:
            from cxrclient.cli.output.page import RunPage
            from cxrclient.pages import check_target

            check_target(html)
            page = RunPage(
                html=html, names=names, archive_films=archive_films, archive_maps=archive_maps
            )
        pictures = Pictures(masks, overlays, search.given)
        dicom = None
        if objects.folder is not None:
            from cxrclient.cli.output.dicom import DicomFolder

            dicom = DicomFolder(objects.folder, gsps=objects.gsps)
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
            embeddings=embeddings,
            maps=maps,
            page=page,
            dicom=dicom,
        )
        if dicom:
            run.needs["without DICOM results"] = _has("sr")
        if objects.neighbours:
            run.needs["without neighbours"] = _has("neighbours")
        if embeddings:
            run.needs["without embedding"] = _has("embedding")
        if maps:
            private_folder(maps)
            run.needs["without maps"] = _has("maps")
        with ExitStack() as opened:
            opened.enter_context(closing(pictures))
            client = opened.enter_context(
                open_client(settings, gate=gate, keep_files=dicom is not None)
            )
            if index is not None:
                from cxrclient.cli.output.archived import open_archive, say_what_labels_are

                run.into = open_archive(
                    opened,
                    client.model,
                    index,
                    access,
                    told,
                    metadata=known,
                    hash_uids=hash_uids,
                    site=site,
                    gate=gate,
                )
                if page:
                    page.archive = run.into.archive
                if resume and output:
                    run.needs["not in the archive"] = run.into.has_films_of(output)
            if dicom and objects.neighbours:
                from cxrclient.cli.output.archived import archive_to_search

                archive = archive_to_search(opened, client.model, run.into, objects.archive, access)
                dicom.add_neighbours(archive, objects.neighbours)
            run.predict(client, sources, gate=gate, summary=summary)
            if index is not None:
                say_what_labels_are(known, told.fates["ok"])
        if page:
            page.say_doubts()
        if dicom:
            dicom.say_what_is_missing()
        if kind != "table":
            say(client.model.notice, bold=True)
        _say_what_happened(told.fates, told.kept.total())
        say_what_was_no_film(search)
        if pictures.renamed:
            have = "picture has" if pictures.renamed == 1 else "pictures have"
            say(
                f"{pictures.renamed} {have} a number added to the name, because the name was taken."
            )
        code = exit_of(told.fates)
        unsearched = page is not None and page.fates["no archive"] > 0
        raise typer.Exit(Exit.FAILED if code is Exit.OK and unsearched else code)


def _refuse_what_does_not_fit(
    kind: str, *, stored: bool, again: bool, page_again: bool, to_stdout: bool, no_archive: bool
) -> None:
    if stored and kind != "jsonl":
        raise UsageError("--embeddings and --maps need results as jsonl: --output FILE.jsonl.")
    if again:
        raise UsageError("A film on stdin has no name to be known by again. Leave --resume out.")
    if page_again:
        raise UsageError(
            "--resume predicts no film twice, so a page would lack those done before. Keep --maps, "
            "and make the page afterwards: cxrclient report --results FILE.jsonl."
        )
    if to_stdout:
        raise UsageError(
            "Results go to stdout here. A page goes there by: cxrclient report --html -"
        )
    if no_archive:
        raise UsageError(
            "--metadata, --hash-uids, --site, --archive-films and --archive-maps need --index."
        )


def _has(key: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a result that has a prediction has this too."""
    return lambda line: line["status"] != "ok" or bool(line.get(key))


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
        say(f"{counted(total)}: {counts}{earlier}.")
