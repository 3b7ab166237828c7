"""`cxrclient archive migrate`: an archive taken over to the model that the server has now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes, with_options
from cxrclient.cli.options.archive import Access, Uri, with_access
from cxrclient.cli.options.server import Secured, Server, open_client, with_secured
from cxrclient.cli.signals import sigterm_as_interrupt
from cxrclient.cli.terminal import say

if TYPE_CHECKING:
    from cxrclient.archive import SimilarityIndex
    from cxrclient.wire import CxrClient


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
    from cxrclient.films import FilmSearch
    from cxrclient.runs import Migration, migrate, missing, switch

    done, told = Migration(), 0
    for done in migrate(cxr, old, new, FilmSearch(films), key=key):
        for failure in done.failures[told:]:
            say(f"{failure.path}: {with_options(failure)}", fg="red")
        told = len(done.failures)
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
