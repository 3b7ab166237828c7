"""The records that pass between the spool and who works with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from cxrclient.node.descriptors import ran_out

FilmState = Literal["waiting", "analysed", "done", "failed"]
"""`waiting` for a worker; `analysed`, not yet at every target; `done`; `failed` by its fault."""
DeliveryState = Literal["waiting", "delivered", "refused"]
Taken = Literal["stored", "again", "other_pixels"]
ARCHIVE = "archive"
"""The target of films' embeddings; all others are peers."""
STOW = "stow:"
"""Starts the name of a sender by STOW-RS, before its address; others are AE titles."""


class NoRoom(Exception):
    """No film is taken now.

    Attributes:
        code: `LOW_DISK`, `QUEUE_FULL`, `SPOOL_FAILED` or `NO_DESCRIPTORS`, of `NOTES`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Give what an error of the disk or the rows means."""
        return cls("NO_DESCRIPTORS" if ran_out(error) else "SPOOL_FAILED")


@dataclass(frozen=True)
class Arrival:
    """A film as it came.

    Attributes:
        uid: its SOP Instance UID, by which the spool knows it.
        study_uid: (0020,000D).
        series_uid: (0020,000E).
        sop_class: (0008,0016).
        pixels: digest of its pixel data as encoded.
        sender: AE title, or address after `STOW`.
    """

    uid: str
    study_uid: str
    series_uid: str
    sop_class: str
    pixels: str
    sender: str = ""

    def counted_as(self, taken: Taken) -> str:
        """Name the count of what came over one of the ways in."""
        return f"received:{'stow' if self.sender.startswith(STOW) else 'dicom'}:{taken}"


@dataclass(frozen=True)
class ResultObject:
    """A DICOM object of results, a file in the film's folder of results.

    Attributes:
        kind: `sr`, `seg`, `sc`, `gsps`.
        uid: its SOP Instance UID.
        series_uid: (0020,000E).
        sop_class: (0008,0016).
        file: its name in the folder.
    """

    kind: str
    uid: str
    series_uid: str
    sop_class: str
    file: str


@dataclass(frozen=True)
class Outcome:
    """What became of a film that was analysed.

    Attributes:
        status: `ok`; `rejected` by the gate; `failed` by its own fault.
        code: why it was not analysed, or has no results; None where all is well.
        message: one sentence to it, without a word of the film's.
        record: as `Prediction.record`, with the embedding; or as `FilmError.record`.
        objects: its results, written into `Spool.results_folder(uid)` before.
        positive: whether the probability is above the operating point; None without one.
        values: digest of the film's decoded values, for when its file is gone.
        distance: of its embedding to the nearest training film; None where nobody measured it.
    """

    status: Literal["ok", "rejected", "failed"]
    code: str | None = None
    message: str | None = None
    record: dict[str, Any] = field(default_factory=dict, repr=False)
    objects: tuple[ResultObject, ...] = ()
    positive: bool | None = None
    values: str | None = None
    distance: float | None = None

    def goes_to(self, targets: Sequence[str]) -> list[str]:
        """Give those targets that get it: the archive what has an embedding, peers what objects."""
        embedded = "embedding" in self.record
        return [
            target for target in targets if (embedded if target == ARCHIVE else bool(self.objects))
        ]

    def as_json(self) -> dict[str, Any]:
        """Give plain JSON values, which `of_json` reads."""
        return asdict(self)

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> Self:
        """Read what `as_json` gave."""
        objects = tuple(ResultObject(**each) for each in told["objects"])
        return cls(**{**told, "objects": objects})


@dataclass(frozen=True)
class Job:
    """A film to analyse, claimed by who got it until it is finished or put off.

    Attributes:
        arrival: as it came.
        path: of its file.
        attempts: how often it was put off before.
    """

    arrival: Arrival
    path: Path
    attempts: int


@dataclass(frozen=True)
class Delivery:
    """A film's results on their way to one target, claimed as a Job is.

    Attributes:
        uid: of the film.
        target: a peer's name, or `archive`.
        study_uid: of the film, and so of its results.
        outcome: what became of it.
        folder: where its objects lie.
        ask_first: whether the target may have some of them already.
        sent: whether the target once said that it has all of them, and was not yet found to.
        attempts: how often it was put off before.
        received_at: of the film, in seconds of Unix time.
    """

    uid: str
    target: str
    study_uid: str
    outcome: Outcome
    folder: Path
    ask_first: bool
    sent: bool
    attempts: int
    received_at: float
