"""`cxrclient report`: films → one page for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes, exit_of, with_options
from cxrclient.cli.options.archive import Access, with_access
from cxrclient.cli.options.pages import ArchiveFilms, ArchiveMaps, Names
from cxrclient.cli.options.piles import Films, Pile, Results, with_pile
from cxrclient.cli.options.server import (
    Jobs,
    Secured,
    Server,
    Timeout,
    open_client,
    with_secured,
)
from cxrclient.cli.output.progress import Advance, shown_progress
from cxrclient.cli.signals import sigterm_as_interrupt
from cxrclient.cli.terminal import counted, say
from cxrclient.errors import FilmError

if TYPE_CHECKING:
    from cxrclient.films import FilmSearch
    from cxrclient.wire import Prediction


@with_access
@with_secured
@with_pile
def report(
    films: Films = None,
    *,
    html: Annotated[
        Path, typer.Option(metavar="FILE", help="The page to write.", show_default=False)
    ],
    uri: Annotated[
        str | None,
        typer.Option(help="The archive to search for nearest films: FILE.db or http(s)://…"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many nearest films.")] = 4,
    archive_films: ArchiveFilms = None,
    archive_maps: ArchiveMaps = None,
    names: Names = True,
    title: Annotated[str, typer.Option(help="The title of the page.")] = "Report of chest films",
    gate: Annotated[
        bool,
        typer.Option(
            "--gate/--no-gate",
            help="--gate: films that the server turns away get no result. --no-gate: they get one, "
            "with the reasons beside it.",
        ),
    ] = True,
    server: Server = None,
    jobs: Jobs = None,
    timeout: Timeout = None,
    results: Results = None,
    pile: Pile,
    secured: Secured,
    access: Access,
) -> None:
    """Write one page about films: picture, lungs, heatmap, members, nearest films.

    The page is one file. It can be printed and needs no script. Films that failed or were turned
    away are on it too, with code and sentence. It shows file names without folders (--no-names:
    only numbers), SOP Instance UIDs, and what the archive keeps of the neighbours. If the run is
    interrupted, the page has the films so far. --html - writes it to stdout.

    With --results, the page is of what `cxrclient predict --maps DIR --output FILE.jsonl` stored:
    no film is predicted again. (Nearest films also need its --embeddings.) The page also
    needs a server of the same model, which tells the model's threshold, notice and reasons to turn
    films away.

    Exit code 0: every film has a result. 3: some were turned away or failed. 5: no server answers,
    or it went away. 2: wrong usage. 1: anything else, such as an archive that failed on the way.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        import shutil
        from contextlib import ExitStack
        from tempfile import TemporaryDirectory

        from cxrclient.archive import SimilarityIndex
        from cxrclient.cli.output.page import RunPage
        from cxrclient.errors import UsageError
        from cxrclient.pages import check_target
        from cxrclient.runs import require_stored, stored_predictions
        from cxrclient.settings import client_settings

        if (archive_films or archive_maps) and uri is None:
            given = "--archive-films" if archive_films else "--archive-maps"
            raise UsageError(f"{given} needs an archive: give its --uri too.")
        settings = client_settings(server, jobs, timeout, **secured)
        search: FilmSearch | None = None
        sources: Iterator[str | FilmError] = iter(())
        digest: str | None = None
        if results is None:
            search = pile.search(films)
            sources = search.at_least_one()
        else:
            pile.refuse_beside_results(films)
            digest = require_stored(results, maps=True)
            if uri is not None:
                require_stored(results, maps=False)
        with ExitStack() as opened:
            to_stdout = html == Path("-")
            if to_stdout:
                html = Path(opened.enter_context(TemporaryDirectory()), "page.html")
            check_target(html)
            page = RunPage(
                html=html,
                title=title,
                names=names,
                k=k,
                archive_films=archive_films,
                archive_maps=archive_maps,
            )
            cxr = opened.enter_context(open_client(settings, gate=gate))
            if digest not in (None, cxr.model.digest):
                raise UsageError(
                    f"{results} is of the model {str(digest)[:12]}, and the server has "
                    f"{cxr.model.digest[:12]}. Give the films, or start that model's server."
                )
            if uri is not None:
                page.archive = opened.enter_context(
                    SimilarityIndex(uri, model_digest=cxr.model.digest, create=False, **access)
                )
            if results is not None:
                outcomes = stored_predictions(results, maps=True)
            else:
                advance = opened.enter_context(shown_progress(search, stdout_has_results=to_stdout))
                outcomes = _advancing(cxr.predict_many(sources, maps=True), advance)
            try:
                page.write(cxr, outcomes)
            finally:
                _say(page.fates, search)
                page.say_doubts()
            if to_stdout:
                with html.open("rb") as file:
                    shutil.copyfileobj(file, typer.get_binary_stream("stdout"))
            else:
                typer.echo(html)
        raise typer.Exit(_exit_code(page.fates))


def _advancing(
    outcomes: Iterable[Prediction | FilmError], advance: Advance
) -> Iterator[Prediction | FilmError]:
    """The same outcomes, in the words of a command."""
    for outcome in outcomes:
        yield with_options(outcome)
        advance(1, outcome.status if isinstance(outcome, FilmError) else "ok")


def _say(fates: Counter[str], search: FilmSearch | None) -> None:
    """On stderr; the page says the rest."""
    total = fates["ok"] + fates["rejected"] + fates["failed"]
    counts = f"{fates['ok']} with a result, {fates['rejected']} turned away"
    say(f"{counted(total)}: {counts}, {fates['failed']} failed.")
    if search:
        from cxrclient.cli.output.summary import say_what_was_no_film

        say_what_was_no_film(search)


def _exit_code(fates: Counter[str]) -> Exit:
    code = exit_of(fates)
    return Exit.FAILED if code is Exit.OK and fates["no archive"] else code
