"""`cxrclient index`: films into the archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import errors_as_exit_codes, exit_of
from cxrclient.cli.options.archive import Access, Uri, with_access
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
from cxrclient.cli.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrclient.archive import FilmMetadata


@with_access
@with_secured
@with_pile
def index(
    films: Films = None,
    *,
    uri: Uri,
    metadata: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the columns image, patient_id, label, and any others of yours."
        ),
    ] = None,
    hash_uids: Annotated[
        bool,
        typer.Option(
            "--hash-uids",
            help="Store keyed hashes in place of UIDs. Then no neighbour can be opened by its UID.",
        ),
    ] = False,
    pile: Pile,
    server: Server = None,
    secured: Secured,
    access: Access,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate/--no-gate",
            help="--gate: leave out films that the server turns away (no chest film, a picture "
            "beside the film, …). --no-gate: index them too.",
        ),
    ] = True,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Skip films that are in the archive already, unless their file or their row of "
            "the metadata changed.",
        ),
    ] = False,
    summary: Summary = None,
    jobs: Jobs = None,
    timeout: Timeout = None,
    retry_for: RetryFor = None,
) -> None:
    """Predict films and keep their embeddings, so that similar ones can be found.

    Indexing twice changes nothing: a film that is in the archive stays as it is, unless the
    metadata has a row for it. The label is the metadata's if it has one, else the predicted one.
    To continue a long run that was killed, run the same command with --resume. The journal beside
    the archive (FILE.db.journal) makes this quick and may be deleted.

    Stored for each film: its embedding, label and probability. Its SOP and Study Instance UID in
    clear, so that the film can be opened (with --hash-uids: as keyed hashes). View, sex, age, days
    since a trial's baseline study, and every other column of the metadata. The patient only as a
    keyed hash (key: CXR_PATIENT_KEY, or a private file made on first use). Not stored: pixels,
    names, dates of the header. Metadata columns named like an identifier (PatientID, name, mrn,
    birth_date …) are refused. Guard the archive like the films.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        from cxrclient.archive import SimilarityIndex, load_patient_key
        from cxrclient.cli.index_run import IndexRun
        from cxrclient.cli.output.summary import say_what_was_no_film
        from cxrclient.files import MemoryUse, keep_freed_memory
        from cxrclient.runs import RunSummary, require_writable
        from cxrclient.settings import client_settings

        keep_freed_memory(MemoryUse.FILMS)
        settings = client_settings(server, jobs, timeout, retry_for, **secured)
        search = pile.search(films)
        sources = search.at_least_one()
        known: dict[str, FilmMetadata] = {}
        if metadata is not None:  # matched to all films before the first one is sent
            found = list(sources)
            sources, known = iter(found), _known(metadata, [f for f in found if isinstance(f, str)])
        require_writable(summary)
        asked = {"films": films, "uri": uri, "resume": resume, "gate": gate, "hash_uids": hash_uids}
        told = RunSummary("index", {**asked, **settings.model_dump()})
        run = IndexRun(
            told=told,
            search=search,
            metadata=known,
            key=load_patient_key(),
            hash_uids=hash_uids,
            resume=resume,
        )
        with (
            open_client(settings, gate=gate) as cxr,
            SimilarityIndex(
                uri,
                model_digest=cxr.model.digest,
                **access,
            ) as archive,
        ):
            _check_embedding_size(cxr.model.embedding_size)
            run.index(cxr, archive, sources, gate=gate, summary=summary)
            _say_what_labels_are(known, told.fates["ok"])
            say(cxr.model.notice, fg="yellow")
        say_what_was_no_film(search)
        raise typer.Exit(exit_of(told.fates))


def _known(metadata: Path, films: Sequence[str]) -> dict[str, FilmMetadata]:
    from cxrclient.archive import match_films, read_metadata

    rows = read_metadata(metadata)
    known = match_films(rows, films, metadata)
    if len(known) < len(films):
        first = next(film for film in films if film not in known)
        say(
            f"{len(films) - len(known)} of {len(films)} films have no row in {metadata} "
            f"(the first is {first}).",
            fg="yellow",
        )
    return known


def _check_embedding_size(size: int) -> None:
    from cxrclient.archive import EMBEDDING_SIZE
    from cxrclient.errors import ArchiveMismatch

    if size != EMBEDDING_SIZE:
        raise ArchiveMismatch(
            f"The server's embeddings have {size} numbers, but this archive needs {EMBEDDING_SIZE}."
        )


def _say_what_labels_are(known: dict[str, FilmMetadata], films: int) -> None:
    true = sum(row.label is not None for row in known.values())
    if true == 0:
        say("Labels of new films are the model's predictions, not ground truth.")
    elif true < films:
        say("Films without a label in the metadata got the model's prediction as label.")
