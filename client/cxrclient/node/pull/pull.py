"""Takes films out of a PACS, day by day, into files that are whole: what is there is not asked for.

A pull that was killed goes on when it is started again, since a file has its name only once it is
on the disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cxrclient.errors import CxrClientError, FilmError, PacsUnreachable
from cxrclient.faults import is_ours
from cxrclient.files import cannot_write, private_folder, write_whole
from cxrclient.films import read_partial
from cxrclient.node.pull.pacs import Found, Pacs, Wanted, not_pulled
from cxrclient.pixels import quiet_pydicom

if TYPE_CHECKING:
    from tenacity import RetryCallState

_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)
_SOP_INSTANCE = 0x00080018
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _SHORTEST_PAUSE_S = 0.5, 8.0, 0.05


@dataclass(frozen=True)
class Pulled:
    """A film that is in its file.

    Attributes:
        path: of the file.
        there: whether it was there already.
    """

    path: Path
    there: bool


class Pull:
    """Films of some days, out of a PACS, into a folder.

    Args:
        pacs: to ask.
        folder: made where it is missing; a film is `STUDY-UID/SOP-UID.dcm` in it.
        retry_for_s: how long the PACS may be away, from the first failure on.
    """

    def __init__(self, pacs: Pacs, folder: Path, retry_for_s: float) -> None:
        self._pacs, self._folder, self._retry_for_s = pacs, folder, retry_for_s
        try:
            private_folder(folder)
        except OSError as error:
            raise CxrClientError(cannot_write(folder, error)) from error

    def films(self, wanted: Wanted) -> Iterator[Pulled | FilmError]:
        """Get the films that are not there yet; each is safe once it is told.

        Args:
            wanted: which.

        Returns:
            Each film, or why it, or a study, is missing.

        Raises:
            PacsUnreachable: it was away for too long.
            PacsRefused: it does not let us have its films.
            CxrClientError: the folder cannot be written to.
        """
        for day in wanted.days():
            studies = self._patiently(self._pacs.studies_of, day, wanted)
            _log.info("%s: %d studies", day, len(studies))
            for study in studies:
                try:
                    films = self._patiently(self._pacs.films_of, study, wanted)
                except FilmError as error:
                    error.path = study
                    yield error
                    continue
                for film in films:
                    yield self._pull(film, day, wanted)

    def _pull(self, film: Found, day: date, wanted: Wanted) -> Pulled | FilmError:
        path = self._folder / film.study_uid / f"{film.uid}.dcm"
        if path.is_file():
            return Pulled(path, there=True)

        def keep(file: bytes) -> None:
            _require(film, file)
            private_folder(path.parent)
            write_whole(path, file, secret=True)

        try:
            try:
                self._patiently(self._pacs.fetch, film, keep)
            except PacsUnreachable as error:
                # For all, or for this film alone?
                self._pacs.studies_of(day, wanted)
                raise not_pulled(error.message) from error
        except FilmError as error:
            error.path = film.uid
            return error
        except OSError as error:
            raise CxrClientError(cannot_write(path, error)) from error
        return Pulled(path, there=False)

    def _patiently(self, ask: Callable[..., _Answer], *about: Any) -> _Answer:
        """Ask until there is an answer, or the PACS was away for too long."""
        from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

        failed_at: list[float] = []

        def is_over(_state: RetryCallState) -> bool:
            failed_at[:] = failed_at or [time.monotonic()]
            return time.monotonic() - failed_at[0] >= self._retry_for_s

        def tell(state: RetryCallState) -> None:
            pause_s = state.next_action.sleep if state.next_action else 0.0
            _log.info("%s does not answer, and is asked again in %.1f s", self._pacs.name, pause_s)

        tries = Retrying(
            retry=retry_if_exception_type(PacsUnreachable),
            wait=wait_random_exponential(
                multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S, min=_SHORTEST_PAUSE_S
            ),
            stop=is_over,
            before_sleep=tell,
            reraise=True,
        )
        return tries(ask, *about)


def _require(film: Found, file: bytes) -> None:
    """Make sure that a file is the film that was asked for; raises FilmError."""
    try:
        with quiet_pydicom():
            header = read_partial(BytesIO(file), lambda tag, *_: int(tag) > _SOP_INSTANCE)
            uid = str(header.get("SOPInstanceUID") or "").strip("\0 ")
    except Exception as error:
        if is_ours(error):
            raise
        raise not_pulled("What the PACS gives is no DICOM file.") from None
    if uid != film.uid:
        raise not_pulled("The PACS gives another object than the one asked for.")
