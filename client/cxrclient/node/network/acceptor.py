"""pynetdicom's server, made so that callers who are silent or slow harm nobody.

Of itself it shakes hands for TLS in the loop that accepts, where one silent caller stops all
others, and counts a silent caller as an association. Here nobody is an association before its
request (A-ASSOCIATE-RQ) is there whole. Those who have not come so far are at most
`MOST_UNKNOWN`; when there are more, the oldest from the address that has most of them has to go.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from cxrclient.node.descriptors import ran_out
from cxrclient.node.network import line as of_lines
from cxrclient.node.network.line import Line, Memory, end_connection, read_from

_log = logging.getLogger(__name__)

HELLO_S = 5.0
"""From a connection to its whole request for an association, TLS included."""
IDLE_S = 60.0
"""Of an association between two messages."""
PDU_BYTES = 1 << 18
"""The largest PDU that we ask for; 16 KiB, as is usual, takes twice the time."""
MOST_UNKNOWN = 64
MOST_ASSOCIATIONS = 64
MOST_OF_ONE_ADDRESS = 48

_REST_S = 0.2
_REQUEST = 0x01  # A-ASSOCIATE-RQ. Source: DICOM PS3.8 table 9-11
_BY_PROVIDER = 0x02  # of an A-ABORT: whose fault it is lies in the protocol. Source: table 9-26
# Rejected for now: temporary congestion, or local limit exceeded. Source: PS3.8 table 9-21.
_CONGESTION, _LIMIT = (2, 3, 1), (2, 3, 2)

Trouble = Callable[[str, str, str], None]
"""Is told a code of `NOTES`, the caller's address, and a sentence."""

# Its own events write whole headers into the log; set before a server is made.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False


@dataclass
class _Unknown:
    """A connection that has not asked for an association yet."""

    address: str
    socket: socket.socket
    until: float = field(default_factory=lambda: time.monotonic() + HELLO_S)


class _Caller(RequestHandler):
    """Turns a connection into an association, in a thread of its own."""

    server: Acceptor

    def handle(self) -> None:
        """Shake hands, hear the request, and only then begin an association."""
        address = self.client_address[0]
        with self.server.unknown(self.request, address) as caller:
            try:
                self.request = self.server.secured(caller)
                request = _request(caller)
            except ssl.SSLEOFError:
                request = b""  # it only looked whether the port is open
            except ssl.SSLError as error:
                self.server.trouble("CALLER_TLS", address, f"TLS says {error.reason or 'nothing'}.")
                request = b""
            except ValueError:
                self.server.trouble("PROTOCOL_WRONG", address, "Its request is too long.")
                request = b""
            except OSError:
                request = b""
        if not request:
            self.server.shutdown_request(self.request)
            return
        self.request.settimeout(of_lines.STALL_S)
        association = self._create_association()
        association.dul.event_queue.get_nowait()  # what the socket that we replace has put there
        line = Line(association, self.request, request, self.server.memory)
        association.dul.socket, association.dimse = line, line.messages
        association.start()


class Acceptor(ThreadedAssociationServer):
    """The server of `AE.make_server(…, server_class=Acceptor)`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.trouble: Trouble = lambda _code, _address, _sentence: None
        self._full = False
        self.memory = Memory(self.lines)
        self._lock = threading.Lock()
        self._unknown: list[_Unknown] = []
        more["request_handler"] = _Caller
        super().__init__(*arguments, **more)
        self.bind(evt.EVT_REQUESTED, self._reject_where_full)
        self.bind(evt.EVT_PDU_SENT, _mark_wrong)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and do nothing with it here that may wait."""
        try:
            caller, address = cast(socket.socket, self.socket).accept()
        except OSError as error:
            if ran_out(error):
                self.trouble("NO_DESCRIPTORS", "anybody", "Nobody can be let in.")
                time.sleep(_REST_S)  # whoever waits is seen again at once
            raise
        caller.settimeout(HELLO_S)
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return caller, address

    @contextmanager
    def unknown(self, connection: socket.socket, address: str) -> Iterator[_Unknown]:
        """Keep a connection among those that have not asked yet; too many end the oldest one."""
        caller = _Unknown(address, connection)
        with self._lock:
            self._unknown.append(caller)
            if len(self._unknown) > MOST_UNKNOWN:
                ((most, _),) = Counter(each.address for each in self._unknown).most_common(1)
                oldest = next(each for each in self._unknown if each.address == most)
                self._unknown.remove(oldest)
                end_connection(oldest.socket)
        try:
            yield caller
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._unknown.remove(caller)

    def secured(self, caller: _Unknown) -> socket.socket:
        """Shake hands where TLS is spoken; give what is to be read from.

        Raises:
            OSError: it does not come about.
        """
        if self.ssl_context is not None:
            line = self.ssl_context.wrap_socket(
                caller.socket, server_side=True, do_handshake_on_connect=False
            )
            caller.socket = line
            line.do_handshake()
        return caller.socket

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log, in one line, that a caller could not be served; the others are."""
        _log.error("A caller could not be served (%s).", type(sys.exc_info()[1]).__name__)

    def reject_all(self) -> None:
        """Reject new associations for now: whoever asks may come again."""
        self._full = True

    def lines(self) -> list[Line]:
        """The sockets of all associations."""
        sockets = [association.dul.socket for association in self.active_associations]
        return [line for line in sockets if isinstance(line, Line)]

    def shutdown(self) -> None:
        """End, and let the port go."""
        BaseServer.shutdown(self)
        self.server_close()

    def _reject_where_full(self, event: evt.Event) -> None:
        if self._full:
            self._reject(event.assoc, _CONGESTION)
        elif _is_known(event.assoc):
            with self._lock:
                place, leaves = self._place(event.assoc)
            if leaves is not None:
                self.trouble(
                    "TOO_MANY_CALLERS", leaves.requestor.address, "It was one that rested."
                )
                leaves.abort(block=False)
            if not place:
                self.trouble("TOO_MANY_CALLERS", event.assoc.requestor.address, "It was a new one.")
                self._reject(event.assoc, _LIMIT)

    def _place(self, new: Association) -> tuple[bool, Association | None]:
        """Whether there is a place for an association, and which one has to go for it."""
        here = new.requestor.address
        lines = [line for line in self.lines() if not line.leaves]
        counts = Counter(line.assoc.requestor.address for line in lines if line.assoc is not new)
        too_many_here = counts[here] >= MOST_OF_ONE_ADDRESS
        if len(lines) <= MOST_ASSOCIATIONS and not too_many_here:
            return True, None
        resting = [
            line
            for line in lines
            if line.assoc.is_established and line.rests and not line.messages.hands
            if not too_many_here or line.assoc.requestor.address == here
        ]
        if not resting:
            return False, None
        goes = min(resting, key=lambda line: (-counts[line.assoc.requestor.address], line.heard_at))
        goes.leaves = True
        return True, goes.assoc

    @staticmethod
    def _reject(association: Association, why: tuple[int, int, int]) -> None:
        association.acse.send_reject(*why)
        association.kill()


def entity(title: str) -> AE:
    """Make an application entity with our limits.

    Args:
        title: its AE title.

    Raises:
        ValueError: it is none.
    """
    made = AE(ae_title=title)
    made.maximum_pdu_size = PDU_BYTES
    made.maximum_associations = 10 * MOST_ASSOCIATIONS  # ours is the limit
    made.acse_timeout = HELLO_S
    made.dimse_timeout = of_lines.STALL_S
    made.network_timeout = IDLE_S
    return made


def _is_known(association: Association) -> bool:
    """Whether who asks is let in by its names; pynetdicom says no to all others, after this."""
    request, ours = cast(Any, association.requestor.primitive), association.ae
    callers = [title.strip() for title in ours.require_calling_aet]
    called = request.called_ae_title == ours.ae_title.strip() or not ours.require_called_aet
    return called and (not callers or request.calling_ae_title in callers)


def _mark_wrong(event: evt.Event) -> None:
    """Mark an association that ends because its sender does not keep to the protocol."""
    line = event.assoc.dul.socket
    if not isinstance(line, Line):
        return
    # Of a request that it cannot decode, pynetdicom says that we, its user, end it.
    unread = event.assoc.requestor.primitive is None
    if isinstance(event.pdu, A_ABORT_RQ) and (unread or event.pdu.source == _BY_PROVIDER):
        line.cut = line.cut or "PROTOCOL_WRONG"


def _request(caller: _Unknown) -> bytes:
    """The whole first PDU, or nothing where it is no request for an association.

    Raises:
        ValueError: the request is longer than any.
    """
    head = read_from(caller.socket, of_lines.HEAD_BYTES, caller.until)
    length = int.from_bytes(head[2:], "big")
    if len(head) < of_lines.HEAD_BYTES or head[0] != _REQUEST:
        return b""
    if length > of_lines.MOST_PDU_BYTES:
        raise ValueError("a request that is too long")
    rest = read_from(caller.socket, length, caller.until)
    return bytes(head + rest) if len(rest) == length else b""
