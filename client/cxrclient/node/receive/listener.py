"""C-STORE in: who may send, which objects are negotiated, and what each sender is answered."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import build_context, evt
from pynetdicom.presentation import PresentationContext

from cxrclient.errors import NodeError, UsageError
from cxrclient.films import SYNTAXES
from cxrclient.node.network.acceptor import Acceptor, entity
from cxrclient.node.network.addresses import bound_to, is_loopback
from cxrclient.node.network.line import Line, Messages
from cxrclient.node.network.pydicom_parts import Dataset
from cxrclient.node.network.tls import server_context
from cxrclient.node.notes import NOTES
from cxrclient.node.options import NodeOptions
from cxrclient.node.receive.intake import FILM_CLASSES, Receipt, known_uid, take_in
from cxrclient.node.spool.once import CallerNotes
from cxrclient.node.spool.spool import Spool

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import C_STORE

VERIFICATION = "1.2.840.10008.1.1"
_COMMITMENT = "1.2.840.10008.1.20.1"  # Storage Commitment Push Model. Source: DICOM PS3.4 annex J
# Source: DICOM PS3.4 table B.2-1.
SUCCESS, OUT_OF_RESOURCES, NOT_OF_CLASS, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000

_NOT_OF_CLASS = {
    *("NOT_A_FILM", "OWN_RESULT", "NO_PIXELS", "NO_STUDY", "UID_MISMATCH", "MULTI_FRAME", "COLOUR"),
}
_COMMENT_CHARACTERS = 64  # Error Comment (0000,0902) is LO. Source: PS3.5 table 6.2-1
# An association's reject. Source: PS3.8 table 9-21.
_CALLING_UNKNOWN, _CALLED_UNKNOWN = 3, 7
_END_S = 1.0
_LAST_FILMS_S = 5.0  # films in hand at the stop; workers and couriers need the rest
_MOST_NAMED = 16  # classes that a caller asked for and did not get


class DicomListener:
    """Takes films by C-STORE into the spool; answers C-ECHO.

    Args:
        options: AE title, address, callers, TLS.
        spool: a film is in it before its sender hears yes.

    Raises:
        NodeError: it would let anybody in, from anywhere.
        UsageError: an AE title is none, or a file of TLS cannot be used.
    """

    def __init__(self, options: NodeOptions, spool: Spool) -> None:
        if not options.allow and not is_loopback(options.host):
            raise NodeError(
                f"Anybody who reaches {options.host} could send films. Name the AE titles of "
                "those who may with --allow, or listen on 127.0.0.1."
            )
        try:
            self._entity = entity(options.aet)
            self._entity.require_calling_aet = list(options.allow)
        except ValueError as error:
            raise UsageError(
                "An AE title has 1 to 16 characters of ASCII, without a backslash. Mend --aet or "
                "--allow."
            ) from error
        self._entity.require_called_aet = True
        self._host, self._port = options.host, options.port
        self._tls = server_context(options.tls)
        self._spool = spool
        self._server: Acceptor | None = None
        self._serving: threading.Thread | None = None
        self._storing = 0
        self._ends = False
        self._takes_until = math.inf
        self._lock = threading.Lock()
        self._notes = CallerNotes(spool)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1]) if self._server else self._port

    def start(self) -> None:
        """Listen.

        Raises:
            NodeError: the port is taken for more than 5 s, or cannot be bound.
        """
        self._server = bound_to(self._host, self._port, self._bound)
        self._server.trouble = self._notes.note
        self._serving = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="dicom-listener", daemon=True
        )
        self._serving.start()

    def stop_taking(self) -> None:
        """Reject new associations and new films for now; those in hand go on. Harmless twice."""
        self._takes_until = min(self._takes_until, time.monotonic())
        if self._server is not None:
            self._server.reject_all()

    def stop(self, within_s: float) -> None:
        """Let senders finish the film that they are sending, then end every association.

        Args:
            within_s: how long that may take; 5 s of it at most.
        """
        if self._server is None:
            return
        self.stop_taking()
        until = time.monotonic() + min(within_s, _LAST_FILMS_S)
        while time.monotonic() < until and self._has_films(self._server):
            time.sleep(0.02)
        self._ends = True
        until += min(_END_S, within_s)
        while time.monotonic() < until and self._storing:
            time.sleep(0.02)
        for association in self._server.active_associations:
            association.abort(block=False)
        self._server.shutdown()
        self._ended(self._server)  # so that their aborts go out
        for line in self._server.lines():
            line.end()
        self._ended(self._server)
        self._server = None

    @staticmethod
    def _ended(server: Acceptor) -> None:
        until = time.monotonic() + _END_S
        while time.monotonic() < until and server.active_associations:
            time.sleep(0.02)

    def _has_films(self, server: Acceptor) -> bool:
        """Whether a message that began in time is not answered yet."""
        return any(
            hand.begun_at <= self._takes_until
            for line in server.lines()
            for hand in line.messages.hands[:]
            if line.cut is None
        )

    def _bound(self) -> Acceptor:
        server: Any = self._entity.make_server(
            (self._host, self._port),
            contexts=[build_context(VERIFICATION)],
            ssl_context=self._tls,
            evt_handlers=[
                (evt.EVT_REQUESTED, _offer),
                (evt.EVT_ACCEPTED, self._note_not_offered),
                (evt.EVT_REJECTED, self._note_rejected),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_CONN_CLOSE, self._note_cut),
            ],
            server_class=Acceptor,
        )
        found: Acceptor = server
        return found

    def _store(self, event: evt.Event) -> int | Dataset:
        with self._lock:
            hands = cast(Messages, event.assoc.dimse).hands
            late = hands[0].begun_at > self._takes_until
            if not (late or self._ends):
                self._storing += 1
        if late or self._ends:
            self._notes.note("NODE_ENDS", _sender(event))
            return _status(OUT_OF_RESOURCES, f"NODE_ENDS: {NOTES['NODE_ENDS'][0]}")
        try:
            request = cast("C_STORE", event.request)
            announced = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
            file = event.encoded_dataset() if request.DataSet is not None else b""
            request.DataSet = None  # a film need not be in memory twice
            return _status_of(take_in(self._spool, file, _sender(event), announced))
        finally:
            with self._lock:
                self._storing -= 1

    def _note_rejected(self, event: evt.Event) -> None:
        answer, request = event.assoc.acceptor.primitive, event.assoc.requestor.primitive
        if answer and request and answer.diagnostic in (_CALLING_UNKNOWN, _CALLED_UNKNOWN):
            address = event.assoc.requestor.address
            sentence = f"From {address}; it calls {request.called_ae_title}."
            self._notes.note("CALLER_UNKNOWN", _sender(event), sentence)

    def _note_not_offered(self, event: evt.Event) -> None:
        """Note what a caller asked for where it got nothing, and storage commitment in any case."""
        refused = {str(context.abstract_syntax) for context in event.assoc.rejected_contexts}
        if _COMMITMENT in refused:
            self._notes.note("COMMITMENT_REFUSED", _sender(event))
        if not event.assoc.accepted_contexts:
            for each in sorted(refused - {_COMMITMENT})[:_MOST_NAMED]:
                sentence = f"It asked for {known_uid(each) or 'what is no UID'}."
                self._notes.note("NOT_A_FILM", _sender(event), sentence)

    def _note_cut(self, event: evt.Event) -> None:
        line, message = event.assoc.dul.socket, event.assoc.dimse.message
        cut = line.cut if isinstance(line, Line) else None
        if cut is None and message is None:
            return
        code = cut or "TRANSFER_ABORTED"
        uid = _announced(message)
        if uid is None and code == "PROTOCOL_WRONG":
            self._notes.note(code, _sender(event), f"From {event.assoc.requestor.address}.")
            return
        self._spool.note(
            code,
            sender=_sender(event),
            uid=uid,
            message=NOTES[code][0] if code in NOTES else "It has more bytes than any film.",
        )


def _announced(message: Any) -> str | None:
    """The SOP Instance UID that a message's command set has, where it can be read."""
    try:
        return known_uid(str(message.command_set.AffectedSOPInstanceUID))
    except Exception:  # none, or pydicom stumbles over it
        return None


def _sender(event: evt.Event) -> str:
    requestor = event.assoc.requestor
    return str(requestor.ae_title or requestor.address)


def _offer(event: evt.Event) -> None:
    """Take the sender's first choice of what we read: it need not write its films otherwise.

    pynetdicom itself takes the first of the acceptor's.
    """
    request = event.assoc.requestor.primitive
    asked = request.presentation_context_definition_list if request else []
    wished = [str(syntax) for context in asked for syntax in context.transfer_syntax]
    syntaxes = [syntax for syntax in dict.fromkeys(wished) if syntax in SYNTAXES]
    contexts: list[PresentationContext] = [build_context(VERIFICATION)]
    if syntaxes:
        contexts += [build_context(film, syntaxes) for film in FILM_CLASSES]
    event.assoc.acceptor.supported_contexts = contexts


def _status_of(receipt: Receipt) -> int | Dataset:
    if receipt.state != "refused":
        return SUCCESS
    said = f"{receipt.code}: {receipt.message}"
    if receipt.retriable:
        return _status(OUT_OF_RESOURCES, said)
    return _status(NOT_OF_CLASS if receipt.code in _NOT_OF_CLASS else CANNOT_UNDERSTAND, said)


def _status(number: int, said: str) -> Dataset:
    status = Dataset()
    status.Status = number
    plain = said.encode("ascii", "replace").decode().replace("\\", "/")
    status.ErrorComment = plain[:_COMMENT_CHARACTERS].strip()
    return status
