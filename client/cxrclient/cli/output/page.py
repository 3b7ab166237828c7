"""A page of a run's films: written as they come, or, with nearest films, once all are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cxrclient.cli.options.pages import neighbour_pictures
from cxrclient.cli.output.nearest import NearestFilms
from cxrclient.cli.terminal import say
from cxrclient.errors import CxrClientError, FilmError

if TYPE_CHECKING:
    from cxrclient.archive import SimilarityIndex
    from cxrclient.pages import PageFilm
    from cxrclient.runs import Spool
    from cxrclient.wire import CxrClient, Prediction

Outcomes = Iterable["Prediction | FilmError"]


@dataclass(kw_only=True)
class RunPage:
    """The page, and what is to be said of it.

    Attributes:
        html: the file to write.
        title: of the page.
        names: whether it shows file names.
        k: how many nearest films.
        archive: to search for them; None for a page without.
        archive_films: where the archive's films lie.
        archive_maps: where `predict --maps` stored what the networks saw of them.
        fates: films by status and code, and those whose search failed as `no archive`.
    """

    html: Path
    title: str = "Report of chest films"
    names: bool = True
    k: int = 4
    archive: SimilarityIndex | None = None
    archive_films: Path | None = None
    archive_maps: Path | None = None
    fates: Counter[str] = field(default_factory=Counter)
    _nearest: NearestFilms | None = None

    def write(
        self,
        cxr: CxrClient,
        outcomes: Outcomes,
        then: Callable[[], object] | None = None,
    ) -> None:
        """Take a run's outcomes to their end, and write the page.

        With an archive, its films are searched when all outcomes are there, so that each film of
        the run can be another one's neighbour, with its picture, and is predicted once.

        Args:
            cxr: the server.
            outcomes: predictions with maps, and films without. Where they end in an error or are
                interrupted, the page has those that came before, and the error goes on.
            then: done between the last outcome and the first search.
        """
        from cxrclient.pages import page_films, write_page
        from cxrclient.runs import Spool

        if self.archive is None:
            films = page_films(outcomes, cxr.model)
            write_page(
                self.html, self._counted(films), cxr.model, title=self.title, names=self.names
            )
            return
        self._nearest = NearestFilms(self.archive, self.k)
        spool = Spool(self.html.absolute().parent)
        try:
            # What is wrong with the folder or the key is found before a film is sent.
            neighbour_pictures(cxr, self.archive, self.archive_films, self.archive_maps, spool)
            ended = _spooled(outcomes, spool)
            if then:
                then()
            pictures = neighbour_pictures(
                cxr, self.archive, self.archive_films, self.archive_maps, spool
            )
            films = page_films(_until(spool, ended), cxr.model, self._nearest.of, pictures)
            write_page(
                self.html, self._counted(films), cxr.model, title=self.title, names=self.names
            )
        finally:
            spool.close()

    def _counted(self, films: Iterable[PageFilm | FilmError]) -> Iterator[PageFilm | FilmError]:
        for film in films:
            if isinstance(film, FilmError):
                self.fates.update((film.status, film.code))
            else:
                self.fates.update(
                    ("ok", "no archive") if isinstance(film.neighbours, str) else ("ok",)
                )
            yield film

    def say_doubts(self) -> None:
        """Say on stderr what the page's nearest films lack; the page says the rest."""
        if self._nearest:
            self._nearest.say_doubts()
        if self.fates["no archive"]:
            without = (
                f"The archive failed; films without nearest films: {self.fates['no archive']}."
            )
            say(without, fg="red")


def _spooled(outcomes: Outcomes, spool: Spool) -> BaseException | None:
    """Keep them all; gives what they ended in, if not in their end."""
    try:
        for outcome in outcomes:
            spool.add(outcome)
    except (KeyboardInterrupt, CxrClientError) as error:
        return error
    return None


def _until(spool: Spool, ended: BaseException | None) -> Iterator[Prediction | FilmError]:
    yield from spool
    if ended:
        raise ended
