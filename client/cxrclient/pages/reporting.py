"""Predictions → films of a page: with their nearest films, and pictures of these."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from cxrclient.errors import ArchiveError, FilmError
from cxrclient.films import Film, FloatArray
from cxrclient.pages.neighbours import THUMBNAIL_PX
from cxrclient.pages.page import PageFilm, thumbnail
from cxrclient.pages.render import grey_image
from cxrclient.wire import EnsembleInfo, Prediction

if TYPE_CHECKING:
    from PIL import Image

    from cxrclient.archive import Neighbour
    from cxrclient.pages.film_folder import FilmFolder
    from cxrclient.wire import CxrClient

    Picture = Image.Image | str
    Search = Callable[[Prediction], Sequence[Neighbour]]

_PICTURES_KEPT = 1000  # of 64 kB
_NOT_FOUND = "No picture: its file is not in the folder given."


class NeighbourPictures:
    """Pictures of the archive's films, as the networks see them.

    The archive keeps no pictures. A film that is at hand as the networks saw it (cropped and
    equalised like the query's own), from this run or an earlier one, is neither read nor predicted
    again. Any other one is predicted where its file is found.

    Args:
        cxr: the server.
        folder: where the archive's films lie; None where nothing says.
        at_hand: gives the map `cxr` of a film by its id in the archive; None where there is none.
    """

    def __init__(
        self,
        cxr: CxrClient,
        folder: FilmFolder | None,
        at_hand: Callable[[str], FloatArray | None] = lambda _film_id: None,
    ) -> None:
        self._cxr = cxr
        self.folder = folder
        self._at_hand = at_hand
        self._kept: OrderedDict[str, Picture] = OrderedDict()

    def of(self, prediction: Prediction, neighbours: Iterable[Neighbour]) -> dict[str, Picture]:
        """Film id → picture, or a sentence why there is none.

        Args:
            prediction: whose neighbours they are, made with `maps=True`.
            neighbours: of the archive.
        """
        if prediction.path is not None and self.folder:
            own = self.folder.leave_out(prediction.film_id, prediction.path)
            self._kept[own] = thumbnail(prediction)
        ids = [neighbour.id for neighbour in neighbours]
        for film_id in ids:
            if film_id not in self._kept and (seen := self._at_hand(film_id)) is not None:
                self._kept[film_id] = _small(seen)
        missing = [film_id for film_id in ids if film_id not in self._kept]
        if missing and self.folder:
            self._kept |= self._predicted(self.folder, missing)
        answer = {film_id: self._kept[film_id] for film_id in ids if film_id in self._kept}
        while len(self._kept) > _PICTURES_KEPT:
            self._kept.popitem(last=False)
        return answer

    def _predicted(self, folder: FilmFolder, missing: Sequence[str]) -> dict[str, Picture]:
        pictures: dict[str, Picture] = dict.fromkeys(missing, _NOT_FOUND)
        asked: deque[str] = deque()

        def films() -> Iterator[str | Film | FilmError]:
            for film_id, film in folder.find(missing):
                asked.append(film_id)
                yield film

        for outcome in self._cxr.predict_many(films(), maps=True):
            pictures[asked.popleft()] = (
                f"No picture: {outcome.code}"
                if isinstance(outcome, FilmError)
                else thumbnail(outcome)
            )
        return pictures


def _small(cxr: FloatArray) -> Image.Image:
    image = grey_image(cxr)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return image


def page_films(
    outcomes: Iterable[Prediction | FilmError],
    model: EnsembleInfo,
    search: Search | None = None,
    pictures: NeighbourPictures | None = None,
) -> Iterator[PageFilm | FilmError]:
    """Films of a page as they come; none is held.

    Args:
        outcomes: predictions made with `maps=True`, and films without.
        model: that the page is of.
        search: gives a film's nearest films; None for a page without. Where the archive fails, the
            film has a sentence in their place.
        pictures: of the neighbours; None for none.
    """
    for outcome in outcomes:
        if isinstance(outcome, FilmError):
            yield outcome
        elif outcome.model.digest != model.digest:
            yield FilmError(
                "MODEL_CHANGED",
                "The server changed its model during this report, and one report is of one model. "
                "Report this film again.",
                status="failed",
                path=outcome.path,
                retriable=True,
            )
        elif search is None:
            yield PageFilm(outcome)
        else:
            yield _with_neighbours(outcome, search, pictures)


def _with_neighbours(
    prediction: Prediction, search: Search, pictures: NeighbourPictures | None
) -> PageFilm:
    try:
        neighbours = search(prediction)
    except ArchiveError as error:
        return PageFilm(prediction, f"They could not be had. {error}")
    found = pictures.of(prediction, neighbours) if pictures else {}
    return PageFilm(prediction, neighbours, found)
