"""A peer that is called by DIMSE: C-STORE of files as they are, C-FIND, C-ECHO."""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Sequence

from cxrclient.node.network.association import (
    ECHO,
    EXPLICIT,
    FIND,
    IMPLICIT,
    Context,
    DicomAddress,
    PeerError,
    close_association,
    drop_association,
    ended,
    find,
    is_open,
    open_association,
    require_open,
)
from cxrclient.node.send.peer import Answer, answer_of
from cxrclient.node.spool.records import Delivery, ResultObject

from pynetdicom.association import Association  # isort: skip # after pydicom, see network
from pynetdicom.dsutils import split_dataset  # isort: skip

_ALWAYS: tuple[Context, ...] = ((ECHO, IMPLICIT), (FIND, EXPLICIT), (FIND, IMPLICIT))


class DimsePeer:
    """A PACS as `AET@HOST:PORT`; one association lasts for many films.

    Args:
        name: as typed.
        address: the same, read.
        aet: our AE title.
        tls: of `client_context`; None: without TLS.
    """

    def __init__(
        self, name: str, address: DicomAddress, *, aet: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name = name
        self._address, self._aet, self._tls = address, aet, tls
        self._proposed: tuple[Context, ...] = _ALWAYS
        self._line: Association | None = None

    def check(self) -> None:
        """C-ECHO, and whether it takes C-FIND; see Peer."""
        line = self._open()
        taken = _taken(line)
        if (ECHO, IMPLICIT) in taken and line.send_c_echo().get("Status") is None:
            raise ended()
        if not any(name == FIND for name, _ in taken):
            raise PeerError("PEER_CANNOT_ASK", "It does not take C-FIND from us.")

    def missing(self, delivery: Delivery) -> list[ResultObject]:
        """C-FIND at IMAGE level, series by series (PS3.4, C.4.1.2.1); see Peer."""
        of_series: dict[str, list[str]] = defaultdict(list)
        for each in delivery.outcome.objects:
            of_series[each.series_uid].append(each.uid)
        line = self._open()
        there: set[str] = set()
        for series, uids in of_series.items():
            keys = {
                "StudyInstanceUID": delivery.study_uid,
                "SeriesInstanceUID": series,
                "SOPInstanceUID": "\\".join(uids),
            }
            there.update(found["SOPInstanceUID"] for found in find(line, "IMAGE", keys))
        return [each for each in delivery.outcome.objects if each.uid not in there]

    def store(self, delivery: Delivery, objects: Sequence[ResultObject]) -> list[Answer]:
        """C-STORE one after the other; see Peer."""
        needed: list[Context] = [
            (each.sop_class, str(split_dataset(delivery.folder / each.file)[0].TransferSyntaxUID))
            for each in objects
        ]
        line = self._open(needed)
        taken = _taken(line)
        answers = []
        for each, context in zip(objects, needed, strict=True):
            if context not in taken:
                why = "its SOP class or transfer syntax is not accepted"
                answers.append(Answer(each.kind, each.uid, "refused", why))
                continue
            require_open(line)
            status = line.send_c_store(delivery.folder / each.file).get("Status")
            if status is None:
                raise ended()
            answers.append(answer_of(each, status))
        return answers

    def close(self) -> None:
        """See Peer."""
        if (line := self._line) is not None:
            self._line = None
            close_association(line)

    def drop(self) -> None:
        """See Peer."""
        if (line := self._line) is not None:
            drop_association(line)

    def _open(self, needed: Sequence[Context] = ()) -> Association:
        """The association that is open, or another one where it has ended or knows too little."""
        lacking = tuple(dict.fromkeys(each for each in needed if each not in self._proposed))
        if lacking:
            self._proposed += lacking
            self.close()
        if self._line is None or not is_open(self._line):
            self._line = open_association(
                self._address, aet=self._aet, contexts=self._proposed, tls=self._tls
            )
        return self._line


def _taken(line: Association) -> set[Context]:
    return {
        (str(each.abstract_syntax), str(each.transfer_syntax[0])) for each in line.accepted_contexts
    }
