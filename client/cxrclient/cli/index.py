"""`cxrclient index`: films into the archive."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli._archive_options import (
    TlsCa,
    TlsCertificate,
    TlsKey,
    TlsName,
    Token,
    Uri,
    access,
)
from cxrclient.cli._signals import sigterm_as_interrupt
from cxrclient.cli.exits import Exit, errors_as_exit_codes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrclient.archiving import Repeated
    from cxrclient.errors import FilmError
    from cxrclient.index import Added
    from cxrclient.metadata import FilmMetadata


def index(
    films: Annotated[
        list[str],
        typer.Argument(
            help="Films (DICOM, PNG, JPEG), folders with all below them, or quoted globs.",
            show_default=False,
        ),
    ],
    uri: Uri,
    metadata: Annotated[
        Path | None,
        typer.Option(help="CSV of what is known: image, patient_id, label, and any other column."),
    ] = None,
    hash_uids: Annotated[
        bool,
        typer.Option(
            "--hash-uids",
            help="Keep hashes of the UIDs: nobody can open a neighbour by them, nor look one up.",
        ),
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(help="HOST:PORT (gRPC); else CXR_SERVER.", show_default="localhost:8001"),
    ] = None,
    token: Token = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    tls_name: TlsName = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Films in flight; else CXR_JOBS.", show_default="8"),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds that one film may take; else CXR_TIMEOUT_S.", show_default="120"
        ),
    ] = None,
) -> None:
    """Predict films and keep their embeddings, so that similar ones can be found.

    A film that is there already stays as it is, unless the metadata has a row for it: indexing
    twice changes nothing. The label kept is the metadata's where it has one, else the predicted
    one.

    What is stored of a film: its embedding, label and probability; in clear, so that it can be
    opened where it lies, its SOP and Study Instance UID, view, sex and age, and every other column
    of the metadata; the patient as a keyed hash only (key: CXR_PATIENT_KEY, or a private file made
    on first use). With --hash-uids the UIDs are keyed hashes too. No pixels, no names, no dates of
    the header. Metadata columns named like an identifier (PatientID, name, mrn, birth_date …) are
    refused. Guard the archive like the films.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        from cxrclient.archiving import archive_films
        from cxrclient.client import CxrClient
        from cxrclient.identity import load_patient_key
        from cxrclient.index import SimilarityIndex
        from cxrclient.settings import client_settings

        settings = client_settings(server, jobs, timeout)
        found = _found(films)
        known = _known(metadata, [film for film in found if isinstance(film, str)])
        key = load_patient_key()
        done = _Done()
        with (
            CxrClient(settings.server, jobs=settings.jobs, timeout_s=settings.timeout_s) as cxr,
            SimilarityIndex(
                uri,
                model_digest=cxr.model.digest,
                **access(token, tls_ca, tls_cert, tls_key, tls_name),
            ) as archive,
        ):
            _check_embedding_size(cxr.model.embedding_size)
            # Closed before the archive, so that what is left of a batch can still be stored.
            with closing(
                archive_films(cxr, archive, found, metadata=known, key=key, hash_uids=hash_uids)
            ) as outcomes:
                try:
                    for outcome in outcomes:
                        done.add(outcome)
                except KeyboardInterrupt:
                    typer.echo(f"{uri}: {done}. Index again to go on.", err=True)
                    raise
            archive.fit_index()
            typer.echo(f"{archive.uri}: {done}; {len(archive)} films in all")
            _say_what_labels_are(known, found)
            typer.secho(cxr.model.notice, err=True, fg="yellow")
        raise typer.Exit(_exit_code(done.failures))


class _Done:
    """Counts what came of each film, and says it where there is something to say."""

    def __init__(self) -> None:
        self.added = self.already_there = self.repeated = 0
        self.failures: list[FilmError] = []

    def add(self, outcome: Added | Repeated | FilmError) -> None:
        from cxrclient.archiving import Repeated
        from cxrclient.errors import FilmError

        if isinstance(outcome, FilmError):
            self.failures.append(outcome)
            typer.secho(f"{outcome.path}: {outcome}", err=True, fg="red")
        elif isinstance(outcome, Repeated):
            self.repeated += 1
            same = f"the same film as {outcome.first_path}, kept once"
            typer.echo(f"{outcome.path}: {same}", err=True)
        else:
            self.added += outcome.added
            self.already_there += outcome.already_there

    def __str__(self) -> str:
        return (
            f"{self.added} added, {self.already_there} already there, {self.repeated} repeated, "
            f"{len(self.failures)} failed or rejected"
        )


def _found(arguments: Sequence[str]) -> list[str | FilmError]:
    """All films, found before the first is sent, so that metadata can be matched to them."""
    from cxrclient.errors import UsageError
    from cxrclient.sources import FilmSearch

    search = FilmSearch(arguments)
    found = list(search)
    if search.unmatched:
        raise UsageError(f"No film matches {', '.join(search.unmatched)}.")
    if not found:
        raise UsageError(f"There is no film in {', '.join(arguments)}.")
    if search.passed_over:
        typer.echo(f"{search.passed_over} files that are no films were passed over.", err=True)
    return found


def _known(metadata: Path | None, films: Sequence[str]) -> dict[str, FilmMetadata]:
    if metadata is None:
        return {}
    from cxrclient.metadata import match_films, read_metadata

    rows = read_metadata(metadata)
    known = match_films(rows, films, metadata)
    if len(known) < len(films):
        first = next(film for film in films if film not in known)
        typer.secho(
            f"{len(films) - len(known)} of {len(films)} films have no row in {metadata} "
            f"(the first is {first}).",
            err=True,
            fg="yellow",
        )
    return known


def _check_embedding_size(size: int) -> None:
    from cxrclient.errors import ArchiveMismatch
    from cxrclient.index import EMBEDDING_SIZE

    if size != EMBEDDING_SIZE:
        raise ArchiveMismatch(
            f"The server's embeddings have {size} numbers, this version's archive {EMBEDDING_SIZE}."
        )


def _say_what_labels_are(known: dict[str, FilmMetadata], found: Sequence[str | FilmError]) -> None:
    true = sum(row.label is not None for row in known.values())
    if true == 0:
        typer.echo("Labels of new films are the model's predictions, not ground truth.", err=True)
    elif true < len(found):
        typer.echo("Where the metadata has no label, the model's prediction stands.", err=True)


def _exit_code(failures: Sequence[FilmError]) -> Exit:
    if any(failure.code == "SERVER_UNREACHABLE" for failure in failures):
        return Exit.NO_SERVER
    return Exit.SOME_FILMS if failures else Exit.OK
