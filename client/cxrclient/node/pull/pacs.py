"""What `pull` wants of a PACS: to be asked for studies and films, and to give their files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

from cxrclient.errors import FilmError, UsageError

RADIOGRAPHS = ("CR", "DX")
"""Modalities of radiographs. Source: DICOM PS3.3 C.7.3.1.1.1."""
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True)
class Wanted:
    """Films of some days.

    Attributes:
        first: study date.
        last: study date, included.
        modalities: of their series.
    """

    first: date
    last: date
    modalities: frozenset[str] = frozenset(RADIOGRAPHS)

    def __post_init__(self) -> None:
        """Raise UsageError where the last day is before the first."""
        if self.last < self.first:
            raise UsageError(f"--to {self.last} is before --from {self.first}.")

    def days(self) -> Iterator[date]:
        """Each day, the first one first."""
        for number in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=number)

    def any_of(self, modalities: Collection[str]) -> bool:
        """Whether a study of these modalities may have such films; also where it tells none."""
        return not modalities or not self.modalities.isdisjoint(modalities)


@dataclass(frozen=True)
class Found:
    """A film that a PACS has, by its UIDs, each of which is one."""

    study_uid: str
    series_uid: str
    uid: str


Keep = Callable[[bytes], None]
"""Takes a film's file, and returns once it is safe; raises OSError."""


class Pacs(Protocol):
    """A PACS. It is asked for little at a time, so that each question can be asked again.

    Each call raises `PacsUnreachable` where it may help to ask again, and `PacsRefused` where not.
    """

    name: str
    """As it may be shown: without credentials."""

    def studies_of(self, day: date, wanted: Wanted) -> list[str]:
        """List the studies of a day that may have films, by Study Instance UID."""

    def films_of(self, study_uid: str, wanted: Wanted) -> list[Found]:
        """List the films of a study; raises FilmError `NOT_PULLED` where it does not say them."""

    def fetch(self, film: Found, keep: Keep) -> None:
        """Get a film's file; raises FilmError `NOT_PULLED` where there is none."""

    def close(self) -> None:
        """End what is open."""


def not_pulled(message: str) -> FilmError:
    """An error of one film, or of one study; the others go on."""
    return FilmError("NOT_PULLED", message, status="failed", retriable=True)


def is_uid(text: object) -> bool:
    """Whether a text is a UID, and so a harmless name of a file. Source: DICOM PS3.5 section 9."""
    return isinstance(text, str) and len(text) <= 64 and _UID.fullmatch(text) is not None


def dicom_date(day: date) -> str:
    """A day as DICOM writes it. Source: DICOM PS3.5 section 6.2 (DA)."""
    return f"{day:%Y%m%d}"
