"""`--dicom DIR`: a run's results as DICOM objects, named by the film's SOP Instance UID."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrclient.cli.output.nearest import NearestFilms
from cxrclient.cli.terminal import counted, say
from cxrclient.errors import CxrClientError, FilmError, UsageError
from cxrclient.files import cannot_write, private_folder, sha256_of
from cxrclient.runs import Ledger
from cxrclient.wire import EnsembleInfo, Prediction

if TYPE_CHECKING:
    from cxrclient.archive import Neighbour, SimilarityIndex


class DicomFolder:
    """A folder that DICOM results are written to: those of an earlier run are replaced.

    Args:
        folder: made if need be, for its owner alone.
        gsps: whether the outline of the lungs is wanted as a presentation state, too.

    Raises:
        UsageError: highdicom is not installed, or the folder cannot be written to; before any
            film is sent.
    """

    def __init__(self, folder: Path, *, gsps: bool = False) -> None:
        try:
            import highdicom  # noqa: F401  # slow, and no part of the base
        except ImportError as error:
            raise UsageError("--dicom needs `pip install 'cxr-triton[pacs]'`.") from error
        try:
            private_folder(folder)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UsageError(cannot_write(folder, error)) from error
        self._folder, self._gsps = folder, gsps
        self._seen = Ledger()
        self._without: list[FilmError] = []
        self._nearest: NearestFilms | None = None

    def add_neighbours(self, archive: SimilarityIndex, k: int) -> None:
        """Write an SR of each film's nearest films, too.

        Args:
            archive: to search as each film comes.
            k: how many films.
        """
        self._nearest = NearestFilms(archive, k)

    def add(self, result: Prediction | FilmError, ensemble: EnsembleInfo) -> dict[str, str]:
        """Write what there is of a film; of one that failed, or is no DICOM film, nothing.

        Returns:
            Kind (`sr`, `seg`, `sc`, `gsps`, `neighbours`) → path.

        Raises:
            CxrClientError: an object cannot be written, or the archive failed.
        """
        from cxrclient.dicom_results import write

        film = result.film
        if film is None or (isinstance(result, FilmError) and result.status != "rejected"):
            return {}
        digest = sha256_of(film.file)
        first = self._seen[film.film_id]
        if first not in (None, digest):
            self._without.append(_other_film(film.film_id, result.path))
            return {}
        self._seen[film.film_id] = digest
        try:
            paths = write(
                result,
                film.file,
                ensemble,
                self._folder,
                gsps=self._gsps,
                neighbours=self._neighbours(result),
            )
        except FilmError as error:
            error.path = result.path
            self._without.append(error)
            return {}
        except OSError as error:
            raise CxrClientError(cannot_write(self._folder, error)) from error
        return {kind: str(path) for kind, path in paths.items()}

    def _neighbours(self, result: Prediction | FilmError) -> Sequence[Neighbour]:
        if self._nearest is None or isinstance(result, FilmError):
            return ()
        return self._nearest.of(result)

    def say_what_is_missing(self) -> None:
        """Say of how many films there are no objects, and why of the first."""
        if self._nearest:
            self._nearest.say_doubts()
        if self._without:
            first = self._without[0]
            say(
                f"{counted(len(self._without))} without DICOM results. The first is {first.path}: "
                f"{first.message}",
                fg="yellow",
            )


def _other_film(film_id: str, path: str | None) -> FilmError:
    return FilmError(
        "UID_TWICE",
        f"Another file before it has the SOP Instance UID {film_id}; that one's results are kept.",
        status="rejected",
        path=path,
    )
