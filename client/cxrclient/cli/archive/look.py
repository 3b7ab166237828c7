"""`cxrclient archive stats`, `list` and `show`: what is in an archive."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes
from cxrclient.cli.options.archive import (
    Access,
    FilmFilter,
    Issuer,
    Jsonl,
    PatientNumber,
    Uri,
    patient_number,
    with_access,
)
from cxrclient.cli.terminal import cell, console, counted, say

if TYPE_CHECKING:
    from cxrclient.archive import ArchivedFilm, ArchiveStats, SimilarityIndex

_SHOWN = 20
"""Films of a table, where nobody asks for another number."""
_OLD_FORMAT = " (run: cxrclient archive migrate --uri URI; then filters are faster)"
_COLUMNS = ("site", "label", "label_source", "probability", "view", "sex", "age", "days", "source")


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


@with_access
def list_(
    uri: Uri,
    patient: PatientNumber = None,
    issuer: Issuer = None,
    where: FilmFilter = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "-n", "--limit", min=1, help="At most so many films.  [default: 20 of a table]"
        ),
    ] = None,
    output_format: Annotated[
        Literal["table", "jsonl"],
        typer.Option("--format", help="table is for people, jsonl for programs."),
    ] = "table",
    *,
    access: Access,
) -> None:
    """List the films of an archive by ascending id, all of them or those that match.

    A --filter that names a column or a value that no film has is taken for misspelt: exit code 2.
    """
    with errors_as_exit_codes():
        from cxrclient.archive import (
            SimilarityIndex,
            films_matching,
            patient_keys,
            require_values,
        )

        number = patient_number(patient)
        with SimilarityIndex(uri, model_digest=None, **access) as index:
            if where:
                index.columns.require((), where)
                require_values(index, {}, where)
            keys = None if number is None else patient_keys(index, number, issuer or ())
            films = films_matching(index, patients=keys, where=where)
            if output_format == "jsonl":
                for film in islice(films, limit):
                    typer.echo(json.dumps({"id": film.id, **film.about()}))
                return
            most = limit or _SHOWN
            found = list(islice(films, most + 1))
            if not found:
                say(f"No film of {index.uri} matches.")
                return
            _print_table(found[:most])
            if len(found) > most:
                say(f"There are more than these {most} films: --limit shows more of them.")


@with_access
def show(
    film_id: Annotated[str, typer.Argument(metavar="ID", help="A film's id.", show_default=False)],
    uri: Uri,
    as_json: Jsonl = False,
    *,
    access: Access,
) -> None:
    """Show all that an archive has of one film; with --json its embedding too.

    Where the archive's UIDs are hashed, the plain UID is found too, by the patient key.
    """
    with errors_as_exit_codes():
        from cxrclient.archive import SimilarityIndex, ids_as_kept

        with SimilarityIndex(uri, model_digest=None, **access) as index:
            (kept,) = ids_as_kept(index, [film_id])
            film = next(index.films([kept]), None)
            if film is None:
                say(f"There is no film {film_id} in {index.uri}.", fg="red")
                raise typer.Exit(Exit.SOME_FILMS)
            if as_json:
                known = {"id": film.id, **film.about(), "embedding": film.embedding.tolist()}
                typer.echo(json.dumps(known))
                return
            for name, value in {"id": film.id, **film.about()}.items():
                say(f"{name}: {'none' if value is None else value}", err=False)


def _print_table(films: Iterable[ArchivedFilm]) -> None:
    from rich.table import Table

    rows = [(film, film.about()) for film in films]
    columns = [name for name in _COLUMNS if any(about.get(name) is not None for _, about in rows)]
    table = Table()
    table.add_column("id", overflow="fold")
    table.add_column("patient key", no_wrap=True)
    for name in columns:
        table.add_column(name)
    for film, about in rows:
        table.add_row(
            cell(film.id),
            (film.patient_key or "")[:8],
            *(cell(_in_a_cell(about.get(name))) for name in columns),
        )
    console(width=None if sys.stdout.isatty() else 160).print(table)


def _in_a_cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _lines(index: SimilarityIndex, found: ArchiveStats) -> list[tuple[str, object]]:
    from cxrclient.archive import NEWEST_FORMAT

    parameters = ", ".join(f"{name} {value}" for name, value in found.index.parameters.items())
    lines: list[tuple[str, object]] = [
        ("archive", index.uri),
        ("films", f"{found.films} ({found.with_days} with days)"),
        ("patients", f"{found.patients}, and {counted(found.without_patient)} of unknown patients"),
        ("ids", {True: "keyed hashes", False: "in clear", None: "none"}[found.hashed_ids]),
        ("model", found.model_digest),
        ("format", f"{index.format}{'' if index.format == NEWEST_FORMAT else _OLD_FORMAT}"),
        ("index", f"{found.index.name} {parameters}".strip()),
    ]
    for source, counts in found.labels.items():
        words = ", ".join(f"{count} {label}" for label, count in counts.items())
        lines.append((f"labels ({source})", words))
    for name, digest in found.collections.items():
        in_use = "in use" if name == found.collection else "beside"
        lines.append((f"collection {name}", f"{in_use}, model {digest[:12]}"))
    return lines
