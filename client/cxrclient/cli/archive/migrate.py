"""`cxrclient archive migrate`: an archive taken over to the newest format, or to another model."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes
from cxrclient.cli.options.archive import Access, Uri, with_access
from cxrclient.cli.options.server import Secured, Server, open_client, with_secured
from cxrclient.cli.signals import sigterm_as_interrupt
from cxrclient.cli.terminal import counted, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cxrclient.archive import SimilarityIndex
    from cxrclient.runs import Migration

_NEWEST = "the newest format; to move it to another model, give its films"


@with_access
@with_secured
def migrate(
    uri: Uri,
    films: Annotated[
        list[str] | None,
        typer.Argument(
            help="The archive's films, for a model with other embeddings: files, folders with "
            "everything below them, or quoted globs.",
            show_default=False,
        ),
    ] = None,
    same_embeddings: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="OLD NEW",
            help="Model repositories of the archive's model and of the server's. If the "
            "embeddings are provably the same, no film is needed.",
            show_default=False,
        ),
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="The site of films that have none.", show_default=False)
    ] = None,
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
    """Move an archive to the newest format, or to the model that the server has now.

    Without films and server: an archive of an earlier version gets the format of this one, in
    which filters are faster. Its films are copied.

    With films: they are predicted again into a collection beside the old one, which keeps their
    ground truth and columns. With --same-embeddings they are copied, with the old model's
    probabilities and predicted labels. When all are there, the archive is switched in one step;
    until then the old one is used as before. If it is interrupted, run it again: it goes on where
    it stopped.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt(), ExitStack() as opened:
        from cxrclient.archive import NEWEST_FORMAT, SimilarityIndex, key_of
        from cxrclient.films import FilmSearch
        from cxrclient.runs import beside, migrate, take_over
        from cxrclient.settings import client_settings

        cxr = None
        if films or server or same_embeddings:
            settings = client_settings(server, **secured)
            cxr = opened.enter_context(open_client(settings, gate=gate, retry=False))
        old = opened.enter_context(SimilarityIndex(uri, model_digest=None, **access))
        digest = cxr.model.digest if cxr else old.model_digest
        of_model = old.model_digest == digest
        if of_model and old.format == NEWEST_FORMAT:
            what = f"the server's model already ({digest[:12]})" if cxr else _NEWEST
            say(f"{old.uri} is of {what}.", err=False)
            return
        copies = of_model or _makes_the_same(old.model_digest, digest, same_embeddings)
        key = key_of(old) if old.has_hashed_ids() and not copies else None
        new = opened.enter_context(
            SimilarityIndex(uri, model_digest=digest, collection=beside(old, digest), **access)
        )
        if copies or cxr is None:
            progress = take_over(old, new, site=site)
        else:
            progress = migrate(cxr, old, new, FilmSearch(films or []), key=key, site=site)
        code = _migrate(progress, old, new, allow_missing, drop_old, copies=copies)
        if cxr:
            say(cxr.model.notice, fg="yellow")
        raise typer.Exit(code)


def _makes_the_same(old: str, new: str, repositories: tuple[Path, Path] | None) -> bool:
    """Whether two models make the same embeddings, where somebody asks."""
    from cxrclient.errors import UsageError
    from cxrclient.runs import same_embeddings

    if repositories is None:
        return False
    if not same_embeddings(old, repositories[0], new, repositories[1]):
        raise UsageError(
            "The two models differ in preprocessing, lung network or embedding member. Give the "
            "archive's films, without --same-embeddings."
        )
    return True


def _migrate(
    progress: Iterable[Migration],
    old: SimilarityIndex,
    new: SimilarityIndex,
    allow_missing: bool,
    drop_old: bool,
    *,
    copies: bool,
) -> Exit:
    from cxrclient.cli.output.failures import Failures
    from cxrclient.runs import Migration, missing, switch

    done, told, failures = Migration(), 0, Failures()
    for done in progress:
        for failure in done.failures[told:]:
            failures.say(failure)
        told = len(done.failures)
    failures.say_the_rest()
    how = "copied" if copies else "predicted again"
    aside = "" if copies else f"; {done.not_in_archive} given that are not in the archive"
    say(f"{done.taken_over} films {how}, {done.before} before{aside}.", err=False)
    left = 0
    for film_id in missing(old, new):
        say(f"{film_id}: no film was given")
        left += 1
    if left and not allow_missing:
        say(
            f"{old.uri} stays with the old model, for {counted(left)} would be missing. Run again "
            "with their files, or with --allow-missing to leave them behind.",
            fg="red",
        )
        return Exit.SOME_FILMS
    switch(old, new, drop_old=drop_old)
    say(
        f"{old.uri}: {counted(len(new))} of the model {new.model_digest[:12]}; the old ones "
        + ("are removed." if drop_old else f"stay in the collection {old.collection}."),
        err=False,
    )
    return Exit.OK
