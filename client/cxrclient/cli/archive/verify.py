"""`cxrclient archive verify`: whether an archive is whole, and what is not, mended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes
from cxrclient.cli.options.archive import Access, Jsonl, Uri, with_access
from cxrclient.cli.options.server import Secured, open_client, with_secured
from cxrclient.cli.signals import sigterm_as_interrupt
from cxrclient.cli.terminal import say

if TYPE_CHECKING:
    from cxrclient.archive import ArchiveFault, Mended

_NAMED = 20
"""Ids that a line names; it counts all."""


@with_access
@with_secured
def verify(
    uri: Uri,
    mend: Annotated[
        bool,
        typer.Option(
            "--mend",
            help="Mend what can be mended: films that are damaged are taken out, others put in "
            "order.",
        ),
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of a Triton server. Check that the archive is of its model."),
    ] = None,
    as_json: Jsonl = False,
    *,
    secured: Secured,
    access: Access,
) -> None:
    """Check every film: flipped bits, doubled ids, bad vectors, other models' embeddings.

    Without --mend nothing is changed. With it, what it took out is named: index these films again,
    or import a backup, which puts in what the archive lacks. The exit code is 3 if something is
    wrong, or still wrong.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        digest = _server_digest(server, secured) if server else None
        films, faults, mended = _checked(uri, digest, mend, access)
        if as_json:
            record = {
                "films": films,
                "problems": [asdict(_short(fault)) for fault in faults],
                **({"mended": [asdict(done) for done in mended]} if mend else {}),
            }
            typer.echo(json.dumps(record))
        else:
            for done in mended:
                say(f"{done.code}: {done.message}{_named(done.ids, len(done.ids))}", err=False)
            for fault in faults:
                many = f"{fault.count} films: " if fault.count else ""
                named = _named(fault.ids, fault.count)
                say(f"{fault.code}: {many}{fault.message}{named}", err=False)
            if not faults:
                say(f"{films} films, nothing wrong.", err=False)
        raise typer.Exit(Exit.SOME_FILMS if faults else Exit.OK)


def _checked(
    uri: str, digest: str | None, mend: bool, access: Access
) -> tuple[int | None, Sequence[ArchiveFault], Sequence[Mended]]:
    """How many films there are, what is wrong with them, and what was mended before."""
    from cxrclient.archive import (
        SimilarityIndex,
        mend as mend_films,
        mend_file,
        verify as check,
        verify_file,
    )

    faults = verify_file(uri)
    mended: list[Mended] = []
    if mend and any(fault.ids for fault in faults):
        mended += mend_file(uri)
        _forget(uri, mended)
        faults = verify_file(uri)
    if faults:  # Milvus Lite would not open it
        return None, faults, mended
    with SimilarityIndex(uri, model_digest=None, **access) as index:
        faults = check(index, digest, named_most=None if mend else _NAMED)
        if faults and mend:
            mended += mend_films(index, faults)
            _forget(index.uri, mended)
            faults = check(index, digest)
        return len(index), faults, mended


def _forget(uri: str, mended: Sequence[Mended]) -> None:
    """Take films out of the journal of `index` too: no id of them stays, and they are read anew."""
    from cxrclient.runs import forget_films, journal_path

    forget_films(journal_path(uri), (film_id for done in mended for film_id in done.ids))


def _short(fault: ArchiveFault) -> ArchiveFault:
    return replace(fault, ids=fault.ids[:_NAMED])


def _named(ids: Sequence[str], count: int) -> str:
    more = " …" if count > min(len(ids), _NAMED) else ""
    return f" ({', '.join(ids[:_NAMED])}{more})" if ids else ""


def _server_digest(server: str, secured: Secured) -> str:
    from cxrclient.settings import client_settings

    with open_client(client_settings(server, **secured), gate=True, retry=False) as cxr:
        return cxr.model.digest
