"""`cxrclient index`: films into the archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import errors_as_exit_codes, exit_of
from cxrclient.cli.options.archive import Access, Uri, with_access
from cxrclient.cli.options.metadata import Site
from cxrclient.cli.options.piles import Films, Pile, Results, with_pile
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
    site: Site = None,
    results: Results = None,
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

    With --results, what `cxrclient predict --embeddings --output FILE.jsonl` stored is put in: no
    server is needed. Patient and header are read from the films' files.

    Stored for each film: its embedding, label and probability. Its SOP, Study and Series UID in
    clear, so that the film can be opened (with --hash-uids: as keyed hashes). Site, view, sex,
    age, days since the patient's first film (or those in `offset_days` of the metadata), and every
    other column of the metadata. The patient only as a keyed hash (key: CXR_PATIENT_KEY, or a
    private file made on first use). Not stored: pixels, names, dates of the header. Metadata
    columns named like an identifier (PatientID, name, mrn, birth_date …) are refused. Guard the
    archive like the films.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        from cxrclient.archive import SimilarityIndex, load_patient_key
        from cxrclient.cli.index_run import IndexRun, index_stored
        from cxrclient.cli.options.metadata import known_of
        from cxrclient.cli.output.archived import check_embedding_size, say_what_labels_are
        from cxrclient.cli.output.summary import say_what_was_no_film
        from cxrclient.errors import UsageError
        from cxrclient.files import MemoryUse, keep_freed_memory
        from cxrclient.runs import RunSummary, require_writable
        from cxrclient.settings import client_settings

        keep_freed_memory(MemoryUse.FILMS)
        if results is not None:
            pile.refuse_beside_results(films)
            if summary is not None:
                raise UsageError("--summary tells of predictions: leave it out with --results.")
            raise typer.Exit(
                index_stored(
                    results, uri, access, metadata, hash_uids=hash_uids, site=site, gate=gate
                )
            )
        settings = client_settings(server, jobs, timeout, retry_for, **secured)
        search = pile.search(films)
        sources = search.at_least_one()
        known: dict[str, FilmMetadata] = {}
        if metadata is not None:  # matched to all films before the first one is sent
            found = list(sources)
            sources, known = iter(found), known_of(metadata, found)
        require_writable(summary)
        asked = {"films": films, "uri": uri, "resume": resume, "gate": gate, "hash_uids": hash_uids}
        asked["site"] = site
        told = RunSummary("index", {**asked, **settings.model_dump()})
        run = IndexRun(
            told=told,
            search=search,
            metadata=known,
            key=load_patient_key(),
            hash_uids=hash_uids,
            site=site,
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
            check_embedding_size(cxr.model.embedding_size)
            run.index(cxr, archive, sources, gate=gate, summary=summary)
            say_what_labels_are(known, told.fates["ok"])
            say(cxr.model.notice, fg="yellow")
        say_what_was_no_film(search)
        raise typer.Exit(exit_of(told.fates))
