"""A PACS that is asked by C-FIND, and sends by C-MOVE. Source: DICOM PS3.4 annex C."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from cxrclient.errors import PacsRefused, PacsUnreachable
from cxrclient.node.network.association import (
    FIND,
    IMPLICIT,
    DicomAddress,
    PeerError,
    close_association,
    find,
    open_association,
)
from cxrclient.node.network.pydicom_parts import Dataset
from cxrclient.node.network.tls import client_context
from cxrclient.node.options import TlsFiles
from cxrclient.node.pull.inbox import Inbox
from cxrclient.node.pull.pacs import Found, Keep, Wanted, dicom_date, is_uid, not_pulled
from cxrclient.pixels import quiet_pydicom

if TYPE_CHECKING:
    from pynetdicom.association import Association

MOVE = "1.2.840.10008.5.1.4.1.2.2.2"  # Study Root
_AWAY = frozenset({"PEER_UNREACHABLE", "PEER_BUSY", "NO_DESCRIPTORS"})
# Source: DICOM PS3.4 table C.4-2, PS3.7 annex C.
_DESTINATION_UNKNOWN, _NOT_AUTHORISED, _NO_SUCH_CLASS = 0xA801, 0x0124, 0x0122
_RESOURCES = range(0xA700, 0xA703)
_CALLS_IN_VAIN = 3
"""C-MOVEs after which a PACS that has never called us does not know how; one may be an object's."""


class DimsePacs:
    """A PACS that speaks DICOM's own protocol.

    Args:
        peer: where it listens.
        inbox: where it sends films to.
        aet: our AE title: as calling, and as the destination.
        tls: of connections to it; none: without TLS.
        timeout_s: how long it may say nothing.

    Raises:
        UsageError: a file of TLS cannot be used.
    """

    def __init__(
        self, peer: DicomAddress, inbox: Inbox, *, aet: str, tls: TlsFiles, timeout_s: float
    ) -> None:
        self.name = f"{peer.aet}@{peer.host}:{peer.port}"
        self._peer, self._inbox, self._aet = peer, inbox, aet
        self._tls = client_context(tls) if tls else None
        self._timeout_s = timeout_s
        self._association: Association | None = None
        self._in_vain = 0

    def close(self) -> None:
        """End association and listener."""
        if self._association is not None:
            close_association(self._association)
        self._inbox.close()

    def studies_of(self, day: date, wanted: Wanted) -> list[str]:
        """List the studies of a day that may have such films."""
        keys = {"StudyDate": dicom_date(day), "StudyInstanceUID": "", "ModalitiesInStudy": ""}
        return [
            each["StudyInstanceUID"]
            for each in self._find("STUDY", keys, PacsRefused)
            if each["StudyDate"] == dicom_date(day)
            and is_uid(each["StudyInstanceUID"])
            and wanted.any_of(re.findall(r"\w+", each["ModalitiesInStudy"]))
        ]

    def films_of(self, study_uid: str, wanted: Wanted) -> list[Found]:
        """List the films of a study."""
        study = {"StudyInstanceUID": study_uid}
        films = []
        for each in self._parts("SERIES", study | {"SeriesInstanceUID": "", "Modality": ""}):
            uid = each["SeriesInstanceUID"]
            if each["Modality"] in wanted.modalities and is_uid(uid):
                keys = study | {"SeriesInstanceUID": uid, "SOPInstanceUID": ""}
                found = [one["SOPInstanceUID"] for one in self._parts("IMAGE", keys)]
                films += [Found(study_uid, uid, one) for one in found if is_uid(one)]
        return films

    def _parts(self, level: str, keys: dict[str, str]) -> list[dict[str, str]]:
        """Ask what a study or a series has: none has nothing."""
        found = self._find(level, keys, not_pulled)
        if not found:
            raise not_pulled(f"{self.name} names a study or a series, and nothing in it.")
        return found

    def fetch(self, film: Found, keep: Keep) -> None:
        """Let the PACS send a film to the inbox."""
        with self._inbox.awaiting(film.uid, keep) as awaited:
            status = self._move(film)
        if awaited.error is not None:
            raise awaited.error
        if not awaited.came:
            raise self._why_not(status)

    def _move(self, film: Found) -> int | None:
        """Ask for a film; gives the last status, None where the association ended before it."""
        asked = Dataset()
        asked.QueryRetrieveLevel = "IMAGE"
        asked.StudyInstanceUID, asked.SeriesInstanceUID = film.study_uid, film.series_uid
        asked.SOPInstanceUID = film.uid
        association = self._associated()
        status = None
        try:
            with quiet_pydicom():
                for answer, _ in association.send_c_move(asked, self._aet, MOVE):
                    status = answer.get("Status")
        except ValueError as error:  # no such context
            raise PacsRefused(f"{self.name} does not take C-MOVE from us.") from error
        except RuntimeError:  # it ended before we asked
            status = None
        if status is None:
            self._drop()
        return None if status is None else int(status)

    def _why_not(self, status: int | None) -> Exception:
        """Why nothing came, though it was asked for.

        A PACS that does not know us says so in many ways: by a status, by the end of the
        association, or by no word. What they share is that it never calls us.
        """
        told = f"{self.name} sends nothing after C-MOVE ({_words(status)})"
        self._in_vain += not self._inbox.called
        if not self._inbox.called:
            told += (
                f". It must know {self._aet} as a destination, at this machine's address and "
                "--port, and reach it there: --host is where we listen"
            )
        if status == _DESTINATION_UNKNOWN or self._in_vain >= _CALLS_IN_VAIN:
            return PacsRefused(f"{told}.")
        if status in (_NOT_AUTHORISED, _NO_SUCH_CLASS):
            return PacsRefused(f"{self.name} does not allow C-MOVE to us ({_words(status)}).")
        if status is None or status in _RESOURCES:
            return PacsUnreachable(f"{told}.")
        return not_pulled(f"{told}.")

    def _find(
        self, level: str, keys: dict[str, str], for_good: Callable[[str], Exception]
    ) -> list[dict[str, str]]:
        association = self._associated()
        try:
            return find(association, level, keys)
        except PeerError as error:
            self._drop()
            said = f"{self.name}: {error.message}"
            if error.code in _AWAY:
                raise PacsUnreachable(said) from error
            raise for_good(said) from error

    def _associated(self) -> Association:
        """The association, opened again where it ended."""
        if self._association is None or not self._association.is_established:
            contexts = [(FIND, IMPLICIT), (MOVE, IMPLICIT)]
            try:
                opened = open_association(
                    self._peer, aet=self._aet, contexts=contexts, tls=self._tls
                )
            except PeerError as error:
                kind = PacsUnreachable if error.code in _AWAY else PacsRefused
                raise kind(f"{self.name}: {error.message}") from error
            opened.dimse_timeout = opened.network_timeout = self._timeout_s
            self._association = opened
        return self._association

    def _drop(self) -> None:
        """End an association on which nothing can be asked any more; the next one is new."""
        if self._association is not None:
            self._association.abort()
            self._association = None


def _words(status: int | None) -> str:
    return "it ended the association" if status is None else f"status {status:#06x}"
