"""`cxrclient archive`: what is in an archive, whether it is whole, and the ways in and out."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes
from cxrclient.cli.options.archive import Access, Uri, with_access
from cxrclient.cli.options.server import Secured, Server, open_client, with_secured
from cxrclient.cli.signals import sigterm_as_interrupt
from cxrclient.cli.terminal import say

if TYPE_CHECKING:
    from cxrclient.archive import ArchiveStats, SimilarityIndex
    from cxrclient.wire import CxrClient

archive = typer.Typer(
    help="Inspect, check, export or import an archive, or move it to a new model.",
    no_args_is_help=True,
)

Jsonl = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


@archive.command()
@with_access
def stats(
    uri: Uri,
    as_json: Jsonl = False,
    *,
    access: Access,
) -> None:
    """Count films, patients and labels; say which model and which index."""
    with errors_as_exit_codes():
        from cxrclient.archive import SimilarityIndex, stats as count

        with SimilarityIndex(uri, model_digest=None, **access) as index:
            found = count(index)
            if as_json:
                typer.echo(json.dumps(asdict(found)))
            else:
                for name, value in _lines(index, found):
                    say(f"{name}: {value}", err=False)


@archive.command()
@with_access
@with_secured
def verify(
    uri: Uri,
    server: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of a Triton server. Check that the archive is of its model."),
    ] = None,
    as_json: Jsonl = False,
    *,
    secured: Secured,
    access: Access,
) -> None:
    """Check every film for doubled ids, missing vectors, NaN, zeros and other models' embeddings.

    Nothing is changed. The exit code is 3 if something is wrong.
    """
    with errors_as_exit_codes():
        from cxrclient.archive import SimilarityIndex, verify as check

        digest = _server_digest(server, secured) if server else None
        with SimilarityIndex(uri, model_digest=None, **access) as index:
            problems = check(index, digest)
            films = len(index)
        if as_json:
            record = {"films": films, "problems": [asdict(problem) for problem in problems]}
            typer.echo(json.dumps(record))
        for problem in () if as_json else problems:
            ids = f" ({', '.join(problem.ids)}{' …' if problem.count > len(problem.ids) else ''})"
            many = f"{problem.count} films: " if problem.count else ""
            said = f"{problem.code}: {many}{problem.message}{ids if problem.ids else ''}"
            say(said, err=False)
        if not problems and not as_json:
            say(f"{films} films, nothing wrong.", err=False)
        raise typer.Exit(Exit.SOME_FILMS if problems else Exit.OK)


@archive.command(name="export")
@with_access
def export_(
    file: Annotated[Path, typer.Argument(help="Parquet file to write.", show_default=False)],
    uri: Uri,
    *,
    access: Access,
) -> None:
    """Write all films to a Parquet file. Guard it like the archive."""
    with errors_as_exit_codes():
        from cxrclient.archive import SimilarityIndex, check_name, export_parquet

        check_name(file)
        with SimilarityIndex(uri, model_digest=None, **access) as index:
            films = export_parquet(index, file)
        say(f"{file}: {films} films", err=False)


@archive.command(name="import")
@with_access
def import_(
    file: Annotated[
        Path, typer.Argument(help="Parquet file of `archive export`.", show_default=False)
    ],
    uri: Uri,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace films that are in the archive.")
    ] = False,
    *,
    access: Access,
) -> None:
    """Put the films of a Parquet file into an archive of the same model, or a new one.

    Films that are in the archive stay as they are.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        from cxrclient.archive import Added, SimilarityIndex, import_parquet, model_digest

        digest = model_digest(file)
        done = Added(0, 0)
        with SimilarityIndex(uri, model_digest=digest, **access) as index:
            try:
                for some in import_parquet(index, file, overwrite=overwrite):
                    done += some
                index.fit_index()
            finally:
                say(
                    f"{index.uri}: {done.added} added, {done.already_there} already there",
                    err=False,
                )


@archive.command()
@with_access
@with_secured
def migrate(
    films: Annotated[
        list[str],
        typer.Argument(
            help="The archive's films: files, folders with everything below them, or quoted globs.",
            show_default=False,
        ),
    ],
    uri: Uri,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Switch even if films of the archive are missing."),
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Remove the old films after the switch.")
    ] = False,
    gate: Annotated[
        bool,
        typer.Option("--gate/--no-gate", help="Leave out films that the server turns away."),
    ] = True,
    server: Server = None,
    *,
    secured: Secured,
    access: Access,
) -> None:
    """Move an archive to the model that the server has now.

    The films are predicted again into a collection beside the old one, which keeps their ground
    truth and columns. When all are there, the archive is switched in one step; until then the old
    one is used as before. If it is interrupted, run it again: it goes on where it stopped.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        from cxrclient.archive import SimilarityIndex, key_of
        from cxrclient.runs import beside
        from cxrclient.settings import client_settings

        with (
            open_client(client_settings(server, **secured), gate=gate, retry=False) as cxr,
            SimilarityIndex(uri, model_digest=None, **access) as old,
        ):
            digest = cxr.model.digest
            if old.model_digest == digest:
                say(f"{old.uri} is of the server's model already ({digest[:12]}).", err=False)
                return
            key = key_of(old) if old.has_hashed_ids() else None
            with SimilarityIndex(
                uri, model_digest=digest, collection=beside(old, digest), **access
            ) as new:
                code = _migrate(cxr, old, new, films, key, allow_missing, drop_old)
            say(cxr.model.notice, fg="yellow")
        raise typer.Exit(code)


def _migrate(
    cxr: CxrClient,
    old: SimilarityIndex,
    new: SimilarityIndex,
    films: list[str],
    key: bytes | None,
    allow_missing: bool,
    drop_old: bool,
) -> Exit:
    from cxrclient.cli.output.failures import Failures
    from cxrclient.films import FilmSearch
    from cxrclient.runs import Migration, migrate, missing, switch

    done, told, failures = Migration(), 0, Failures()
    for done in migrate(cxr, old, new, FilmSearch(films), key=key):
        for failure in done.failures[told:]:
            failures.say(failure)
        told = len(done.failures)
    failures.say_the_rest()
    say(
        f"{done.taken_over} films predicted again, {done.before} before; "
        f"{done.not_in_archive} given that are not in the archive.",
        err=False,
    )
    left = 0
    for film_id in missing(old, new):
        say(f"{film_id}: no film was given")
        left += 1
    if left and not allow_missing:
        say(
            f"{left} films of {old.uri} are missing, so it stays with the old model. Run again "
            "with their files, or with --allow-missing to leave them behind.",
            fg="red",
        )
        return Exit.SOME_FILMS
    switch(old, new, drop_old=drop_old)
    say(
        f"{old.uri}: {len(new)} films of the model {new.model_digest[:12]}; the old ones "
        + ("are removed." if drop_old else f"stay in the collection {old.collection}."),
        err=False,
    )
    return Exit.OK


def _server_digest(server: str, secured: Secured) -> str:
    from cxrclient.settings import client_settings

    with open_client(client_settings(server, **secured), gate=True, retry=False) as cxr:
        return cxr.model.digest


def _lines(index: SimilarityIndex, found: ArchiveStats) -> list[tuple[str, object]]:
    parameters = ", ".join(f"{name} {value}" for name, value in found.index.parameters.items())
    lines: list[tuple[str, object]] = [
        ("archive", index.uri),
        ("films", f"{found.films} ({found.with_days} with days)"),
        ("patients", f"{found.patients}, and {found.without_patient} films of unknown patients"),
        ("ids", "keyed hashes" if found.hashed_ids else "in clear"),
        ("model", found.model_digest),
        ("index", f"{found.index.name} {parameters}".strip()),
    ]
    for source, counts in found.labels.items():
        words = ", ".join(f"{count} {label}" for label, count in counts.items())
        lines.append((f"labels ({source})", words))
    for name, digest in found.collections.items():
        in_use = "in use" if name == found.collection else "beside"
        lines.append((f"collection {name}", f"{in_use}, model {digest[:12]}"))
    return lines
