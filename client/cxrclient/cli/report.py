"""`cxrclient report`: films → one page for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrclient.cli.exits import Exit, errors_as_exit_codes, exit_of, with_options
from cxrclient.cli.options.archive import Access, with_access
from cxrclient.cli.options.pages import ArchiveFilms, Names, neighbour_pictures
from cxrclient.cli.options.server import (
    Films,
    Jobs,
    Secured,
    Server,
    Timeout,
    open_client,
    with_secured,
)
from cxrclient.cli.output.progress import Advance, shown_progress
from cxrclient.cli.signals import sigterm_as_interrupt
from cxrclient.cli.terminal import say
from cxrclient.errors import FilmError

if TYPE_CHECKING:
    from cxrclient.archive import Neighbour, SimilarityIndex
    from cxrclient.films import FilmSearch
    from cxrclient.pages import PageFilm, Search
    from cxrclient.wire import Prediction


@with_access
@with_secured
def report(
    films: Films,
    html: Annotated[
        Path, typer.Option(metavar="FILE", help="The page to write.", show_default=False)
    ],
    uri: Annotated[
        str | None,
        typer.Option(help="The archive to search for nearest films: FILE.db or http(s)://…"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many nearest films.")] = 4,
    archive_films: ArchiveFilms = None,
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
    *,
    secured: Secured,
    access: Access,
) -> None:
    """Write one page about films: picture, lungs, heatmap, members, nearest films.

    The page is one file. It can be printed and needs no script. Films that failed or were turned
    away are on it too, with code and sentence. It shows file names without folders (--no-names:
    only numbers), SOP Instance UIDs, and what the archive keeps of the neighbours. If the run is
    interrupted, the page has the films so far.

    Exit code 0: every film has a result. 3: some were turned away or failed. 5: no server answers,
    or it went away. 2: wrong usage. 1: anything else, such as an archive that failed on the way.
    """
    with errors_as_exit_codes(), sigterm_as_interrupt():
        from contextlib import ExitStack

        from cxrclient.archive import SimilarityIndex
        from cxrclient.errors import UsageError
        from cxrclient.films import FilmSearch
        from cxrclient.pages import check_target, page_films, write_page
        from cxrclient.settings import client_settings

        if archive_films and uri is None:
            raise UsageError("--archive-films needs an archive: give its --uri too.")
        settings = client_settings(server, jobs, timeout, **secured)
        found = FilmSearch(films)
        sources = found.at_least_one()
        check_target(html)
        run = _Run()
        with ExitStack() as opened:
            cxr = opened.enter_context(open_client(settings, gate=gate))
            archive, pictures = None, None
            if uri is not None:
                archive = opened.enter_context(
                    SimilarityIndex(uri, model_digest=cxr.model.digest, create=False, **access)
                )
                pictures = neighbour_pictures(cxr, archive, archive_films)
            advance = opened.enter_context(shown_progress(found, stdout_has_results=False))
            outcomes = map(with_options, cxr.predict_many(sources, maps=True))
            page = page_films(outcomes, cxr.model, run.search_of(archive, k), pictures)
            try:
                write_page(html, run.counted(page, advance), cxr.model, title=title, names=names)
            finally:
                run.say(found)
        typer.echo(html)
        raise typer.Exit(run.exit_code)


class _Run:
    """What came of each film, and what is to be said of it."""

    def __init__(self) -> None:
        self.fates: Counter[str] = Counter()
        self.doubts: set[str] = set()

    def search_of(self, archive: SimilarityIndex | None, k: int) -> Search | None:
        """How a film's nearest films are found: without itself and its patient."""
        if archive is None:
            return None
        from cxrclient.archive import own_films

        def search(prediction: Prediction) -> list[Neighbour]:
            own = own_films(archive, prediction)
            self.doubts.update([own.doubt] if own.doubt else [])
            return archive.search(
                prediction.embedding, k, exclude=own.ids, exclude_patients=own.patients
            )

        return search

    def counted(
        self, films: Iterable[PageFilm | FilmError], advance: Advance
    ) -> Iterator[PageFilm | FilmError]:
        """The same films."""
        for film in films:
            if isinstance(film, FilmError):
                self.fates.update((film.status, film.code))
            else:
                self.fates.update(
                    ("ok", "no archive") if isinstance(film.neighbours, str) else ("ok",)
                )
            yield film
            advance(1, film.status if isinstance(film, FilmError) else "ok")

    def say(self, found: FilmSearch) -> None:
        """On stderr; the page says the rest."""
        fates = self.fates
        total = fates["ok"] + fates["rejected"] + fates["failed"]
        counts = f"{fates['ok']} with a result, {fates['rejected']} turned away"
        films = "1 film" if total == 1 else f"{total} films"
        say(f"{films}: {counts}, {fates['failed']} failed.")
        from cxrclient.cli.output.summary import say_what_was_no_film

        say_what_was_no_film(found)
        for doubt in sorted(self.doubts):
            say(doubt, fg="yellow")
        if fates["no archive"]:
            without = f"The archive failed; films without nearest films: {fates['no archive']}."
            say(without, fg="red")

    @property
    def exit_code(self) -> Exit:
        """Of the command."""
        code = exit_of(self.fates)
        return Exit.FAILED if code is Exit.OK and self.fates["no archive"] else code
