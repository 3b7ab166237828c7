"""Predictions with their maps, kept for the end of a run in a file without a name.

A page with nearest films is written when all films are in the archive. What is large of each
(lungs, heatmap, film) waits on the disk, and goes with the process, however it ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from cxrclient.errors import FilmError
from cxrclient.wire import Prediction, with_film

MAPS = ("lungs", "heatmap", "cxr", "geometry")


class Spool:
    """Results in the order in which they were added.

    Args:
        folder: of the file system that has the room: some megabytes a film.
    """

    def __init__(self, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self._results: list[tuple[Prediction | FilmError, int]] = []
        self._by_id: dict[str, int] = {}

    def add(self, result: Prediction | FilmError) -> None:
        """Keep a result.

        Raises:
            OSError: the disk is full.
        """
        place = self._file.seek(0, 2)
        if isinstance(result, Prediction):
            for name in MAPS:
                np.save(self._file, getattr(result, name), allow_pickle=False)
            result = _same_film(result, dict.fromkeys(MAPS))
            self._by_id.setdefault(result.film_id, len(self._results))
        self._results.append((result, place))

    def __iter__(self) -> Iterator[Prediction | FilmError]:
        for number in range(len(self._results)):
            yield self._whole(number)

    def predictions(self) -> Iterator[Prediction]:
        """All predictions, without their maps."""
        return (result for result, _ in self._results if isinstance(result, Prediction))

    def find(self, film_id: str) -> Prediction | None:
        """A film's prediction; None where there is none."""
        number = self._by_id.get(film_id)
        found = None if number is None else self._whole(number)
        return found if isinstance(found, Prediction) else None

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _whole(self, number: int) -> Prediction | FilmError:
        result, place = self._results[number]
        if isinstance(result, FilmError):
            return result
        self._file.seek(place)
        return _same_film(result, {name: np.load(self._file, allow_pickle=False) for name in MAPS})


def _same_film(prediction: Prediction, maps: dict[str, object]) -> Prediction:
    """The prediction with other maps; a copy alone would have no film."""
    copy = replace(prediction, **maps)  # type: ignore[arg-type]
    return copy if prediction.film is None else with_film(copy, prediction.film)
