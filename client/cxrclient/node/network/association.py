"""Associations that the node opens: to a peer, under our AE title, with TLS where it is told."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cxrclient.errors import UsageError
from cxrclient.node.descriptors import ran_out
from cxrclient.node.network.pydicom_parts import Dataset
from cxrclient.pixels import quiet_pydicom

# pynetdicom after pydicom_parts: it imports pydicom's modules one by one.
from pynetdicom import AE, _config, build_context, evt  # isort: skip
from pynetdicom.association import Association  # isort: skip
from pynetdicom.dul import DULServiceProvider  # isort: skip

ECHO = "1.2.840.10008.1.1"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"  # Study Root
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
CONNECT_S = 5.0
ASSOCIATE_S = 10.0
ANSWER_S = 60.0
"""Some PACS answer a C-STORE only when the object is on their tape."""
_MOST_CONTEXTS = 128  # PS3.8, 9.3.2.2: odd numbers from 1 to 255
_PDU_BYTES = 262_144  # of what they send us; 16,382 halves the speed

_config.LOG_REQUEST_IDENTIFIERS = False  # they hold names (pynetdicom's #911)
_config.LOG_RESPONSE_IDENTIFIERS = False
_config.LOG_HANDLER_LEVEL = "none"
_config.STORE_SEND_CHUNKED_DATASET = True  # a file goes out as it is, not decoded and encoded

_ended: weakref.WeakSet[Association] = weakref.WeakSet()

Context = tuple[str, str]
"""A SOP class or other service, and one transfer syntax."""


class PeerError(Exception):
    """A peer as a whole does not do what it is asked.

    Attributes:
        code: of `NOTES`: `PEER_UNREACHABLE`, `NO_DESCRIPTORS`, `PEER_REFUSED`, `PEER_TLS`,
            `PEER_BUSY`, `PEER_CANNOT_ASK`.
        message: one sentence, without a word of a film's.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class DicomAddress:
    """Where a DICOM application listens, as `AET@HOST:PORT` says it.

    Attributes:
        aet: its AE title, by which it is called.
        host: name or address; an IPv6 address without its brackets.
        port: 1 to 65535.
    """

    aet: str
    host: str
    port: int

    @classmethod
    def of(cls, typed: str) -> Self:
        """Read `AET@HOST:PORT`; an IPv6 address stands in brackets.

        Raises:
            UsageError: it is something else. What stands before the @ is not repeated.
        """
        aet, _, place = typed.rpartition("@")
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/@\s]+)):(\d{1,5})", place)
        port = int(found[3]) if found else 0
        if found is None or not 1 <= port <= 65_535:
            raise UsageError(f"…@{place} is no address of DICOM. Type it as AET@HOST:PORT.")
        # PS3.5, 6.2: 16 characters of the default repertoire, no backslash, not only spaces.
        if not re.fullmatch(r"[ -\[\]-~]{1,16}", aet) or not aet.strip():
            raise UsageError(
                f"What stands before @{place} is no AE title. It has 1 to 16 plain characters."
            )
        return cls(aet.strip(), found[1] or found[2], port)


def open_association(
    peer: DicomAddress, *, aet: str, contexts: Sequence[Context], tls: ssl.SSLContext | None = None
) -> Association:
    """Open an association; whoever gets it releases it.

    Args:
        peer: whom to call.
        aet: our AE title.
        contexts: each is proposed as a presentation context of its own, so that the peer takes or
            refuses each; at most 128.
        tls: of `client_context`; None: without TLS.

    Raises:
        PeerError: `PEER_UNREACHABLE`, `NO_DESCRIPTORS`, `PEER_TLS`, `PEER_REFUSED`; `PEER_BUSY`
            where it refuses for the time being.
    """
    entity = AE(aet)
    entity.connection_timeout = CONNECT_S
    entity.acse_timeout = ASSOCIATE_S
    entity.dimse_timeout = ANSWER_S
    entity.network_timeout = ANSWER_S
    proposed = [build_context(name, [syntax]) for name, syntax in contexts[:_MOST_CONTEXTS]]
    try:
        association = entity.associate(
            peer.host,
            peer.port,
            contexts=proposed,
            ae_title=peer.aet,
            max_pdu=_PDU_BYTES,
            tls_args=(tls, peer.host) if tls else None,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, _set_socket),
                (evt.EVT_DATA_SENT, _acknowledge_at_once),
                (evt.EVT_CONN_CLOSE, _wake),
            ],
        )
    except OSError as error:  # no such name
        raise unreachable(error) from error
    except KeyboardInterrupt:
        _end_threads_of(entity)
        raise
    if association.is_established:
        keep_answers(association)
        return association
    if association.is_rejected:
        told = association.acceptor.primitive
        code = "PEER_BUSY" if told.result == 2 else "PEER_REFUSED"  # type: ignore[union-attr]
        why = told.reason_str.lower()  # type: ignore[union-attr]
        raise PeerError(code, f"It rejects the association: {why}.")
    if association.rejected_contexts:
        raise PeerError("PEER_REFUSED", "It accepts none of the presentation contexts.")
    raise _why_not(peer, tls)


def is_open(association: Association) -> bool:
    """Whether the peer has not ended it; to be asked before each request.

    A trap: where the connection ends just then, pynetdicom's own thread may take the message that
    says so, and who sends a request waits for its whole timeout, or for that thread for ever. So
    that thread is held here; the request lets it go on.
    """
    association._reactor_checkpoint.clear()
    while association.is_alive() and not association._is_paused:
        time.sleep(0.0005)
    if association.is_established and association not in _ended:
        return True
    association._reactor_checkpoint.set()
    return False


def require_open(association: Association) -> None:
    """As `is_open`.

    Raises:
        PeerError: the peer has ended it.
    """
    if not is_open(association):
        raise ended()


def keep_answers(association: Association) -> None:
    """Let no answer be taken by pynetdicom's own thread, which serves what a peer asks.

    It is told to pause before each request, and under load goes on for one more round (3.0.4): then
    it takes an answer and drops it as unexpected. On an association of ours no peer asks anything.
    """
    read = association.dimse.get_msg

    def get_msg(block: bool = False) -> Any:
        return read(block) if block else (None, None)

    association.dimse.get_msg = get_msg  # type: ignore[method-assign]


def _end_threads_of(entity: AE) -> None:
    """End what an interrupt has left of an association: its thread would keep the process."""
    for thread in threading.enumerate():
        if isinstance(thread, DULServiceProvider) and thread.assoc.ae is entity:
            thread.kill_dul()


def close_association(association: Association) -> None:
    """Release an association, if the peer has not ended it."""
    if is_open(association):
        association.release()


def drop_association(association: Association) -> None:
    """End an association at once, from another thread: whoever waits for the peer wakes."""
    line = association.dul.socket
    if line is not None and line.socket is not None:
        with contextlib.suppress(OSError):
            line.socket.shutdown(socket.SHUT_RDWR)


def find(association: Association, level: str, keys: Mapping[str, str]) -> list[dict[str, str]]:
    r"""Ask what the peer has, by C-FIND (Study Root; PS3.4, C.4.1).

    Args:
        association: with a context for `FIND`.
        level: `STUDY`, `SERIES`, `IMAGE`.
        keys: keyword → value to match; several stand apart by a backslash, "" asks for it.

    Returns:
        Each match, with the same keywords.

    Raises:
        PeerError: `PEER_CANNOT_ASK`: it does not let us, or does not understand; `PEER_BUSY`.
    """
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(asked, name, value.split("\\") if "\\" in value else value)
    require_open(association)
    with quiet_pydicom():
        try:
            answers = list(association.send_c_find(asked, FIND))
        except ValueError as error:  # no such context
            raise PeerError("PEER_CANNOT_ASK", "It does not take C-FIND from us.") from error
        status = answers[-1][0].get("Status") if answers else None
        if status is None:
            raise ended()
        if 0xA700 <= status <= 0xA7FF:
            raise PeerError("PEER_BUSY", f"It answers C-FIND with status {status:#06x}.")
        if status != 0:
            raise PeerError("PEER_CANNOT_ASK", f"It answers C-FIND with status {status:#06x}.")
        matches = [found for _, found in answers[:-1]]
        if None in matches:  # pynetdicom could not decode one, and a match must not be lost
            raise PeerError("PEER_BUSY", "One of its answers to C-FIND cannot be read.")
        return [{name: str(each.get(name) or "") for name in keys} for each in matches if each]


def ended() -> PeerError:
    """The peer ended the association in the middle, or does not answer in it."""
    return PeerError("PEER_BUSY", "It ended the association, or did not answer in time.")


def _set_socket(event: Any) -> None:
    """Let no send wait for ever, nor short messages for each other (pynetdicom leaves both)."""
    line = event.assoc.dul.socket.socket
    line.settimeout(ANSWER_S)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _acknowledge_at_once(event: Any) -> None:
    """Let no answer wait for our acknowledgement of its first bytes: 2 ms a request, not 44.

    DCMTK (Orthanc too) writes an answer in two parts, and the second one waits (Nagle). Linux
    forgets the option by itself.
    """
    line = event.assoc.dul.socket.socket
    if line is not None and hasattr(socket, "TCP_QUICKACK"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _wake(event: Any) -> None:
    """Wake who waits for an answer on a connection that has ended; see `is_open`."""
    _ended.add(event.assoc)
    event.assoc.dimse.msg_queue.put((None, None))


def unreachable(error: Exception) -> PeerError:
    """Say why nobody is there: the peer is away, or we have no descriptor to call it with."""
    if ran_out(error):
        return PeerError("NO_DESCRIPTORS", "It cannot be called: no file descriptor is left.")
    return PeerError("PEER_UNREACHABLE", "Nothing answers at its address.")


def _why_not(peer: DicomAddress, tls: ssl.SSLContext | None) -> PeerError:
    """Find out why no association came about; pynetdicom only logs it."""
    try:
        with socket.create_connection((peer.host, peer.port), CONNECT_S) as line:
            if tls is None:
                return PeerError("PEER_UNREACHABLE", "It does not answer as a DICOM application.")
            return _tls_fault(line, peer.host, tls)
    except OSError as error:
        return unreachable(error)


def _tls_fault(line: socket.socket, host: str, tls: ssl.SSLContext) -> PeerError:
    try:
        with tls.wrap_socket(line, server_hostname=host) as secure:
            secure.settimeout(1.0)  # TLS 1.3: a client's certificate is refused only now
            with contextlib.suppress(TimeoutError):
                secure.recv(1)
    except ssl.SSLError as error:
        return tls_refused(error)
    except OSError:  # it ended the connection, as who speaks no TLS does
        return PeerError("PEER_TLS", "It does not speak TLS, or does not accept ours.")
    return PeerError("PEER_UNREACHABLE", "It does not answer as a DICOM application.")


def tls_refused(error: ssl.SSLError) -> PeerError:
    """A PeerError of a TLS connection that did not come about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return PeerError("PEER_TLS", f"Its certificate does not do: {error.verify_message}.")
    words = (error.reason or "it ends the connection").lower().replace("_", " ")
    return PeerError("PEER_TLS", f"No TLS connection comes about: {words}.")
