"""How a run finds each film's nearest films in an archive: without itself and its patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrclient.cli.terminal import say

if TYPE_CHECKING:
    from cxrclient.archive import Neighbour, SimilarityIndex
    from cxrclient.wire import Prediction


class NearestFilms:
    """Finds the nearest films of a run's films.

    Args:
        archive: to search.
        k: how many for each film.
    """

    def __init__(self, archive: SimilarityIndex, k: int) -> None:
        self._archive, self._k = archive, k
        self._doubts: set[str] = set()

    def of(self, prediction: Prediction) -> list[Neighbour]:
        """Find those of a film.

        Raises:
            ArchiveUnavailable: the archive failed.
        """
        from cxrclient.archive import own_films

        own = own_films(self._archive, prediction)
        self._doubts.update([own.doubt] if own.doubt else [])
        return self._archive.search(
            prediction.embedding, self._k, exclude=own.ids, exclude_patients=own.patients
        )

    def say_doubts(self) -> None:
        """Say on stderr what may be wrong with what was found."""
        for doubt in sorted(self._doubts):
            say(doubt, fg="yellow")
