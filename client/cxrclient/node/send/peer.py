"""What a peer is to the couriers, and what its answers to an object mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cxrclient.node.spool.records import Delivery, ResultObject


@dataclass(frozen=True)
class Answer:
    """What a peer says of an object that it was sent.

    Attributes:
        kind: of the object: `sr`, `seg`, `sc`, `gsps`.
        uid: of the object.
        verdict: `stored`; `warned`: stored with a warning; `refused` for good; `busy`: not now.
        why: a few words, empty where it is stored.
    """

    kind: str
    uid: str
    verdict: Literal["stored", "warned", "refused", "busy"]
    why: str = ""

    @property
    def sentence(self) -> str:
        """Say it of its kind."""
        return f"{self.kind} ({self.why})"


class Peer(Protocol):
    """Where results go; used by one thread.

    Attributes:
        name: as typed, without credentials.
    """

    name: str

    def check(self) -> None:
        """Ask whether it is there, and lets us in and ask.

        Raises:
            PeerError: it does not.
        """

    def missing(self, delivery: Delivery) -> list[ResultObject]:
        """Ask which of a film's results it has not.

        Raises:
            PeerError: it does not answer; `PEER_CANNOT_ASK` where it does not let us ask.
        """

    def store(self, delivery: Delivery, objects: Sequence[ResultObject]) -> list[Answer]:
        """Send objects, byte for byte as their files.

        Args:
            delivery: whose objects they are.
            objects: some of its objects, or all.

        Returns:
            An answer for each.

        Raises:
            PeerError: it does not take any now.
            OSError: a file cannot be read.
        """

    def close(self) -> None:
        """Let the connection go; the next call opens another."""

    def drop(self) -> None:
        """End the connection at once, from another thread."""


def answer_of(sent: ResultObject, status: int) -> Answer:
    """Read the status of a C-STORE, or a FailureReason or WarningReason of STOW-RS.

    Source: DICOM PS3.4, table B.2-1; PS3.7, annex C; PS3.18, table I.2-1 and I.2-2.
    """
    verdict: Literal["stored", "warned", "refused", "busy"] = "busy"
    if status in (0x0000, 0x0111):  # 0x0111: it has it already
        return Answer(sent.kind, sent.uid, "stored")
    if 0xB000 <= status <= 0xBFFF or status in (0x0001, 0x0107, 0x0116):
        verdict = "warned"
    elif 0xA900 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF or status in (0x0117, 0x0122):
        verdict = "refused"
    return Answer(sent.kind, sent.uid, verdict, f"status {status:#06x}")
