"""pynetdicom's server, made so that callers who are silent or slow harm nobody.

Of itself it shakes hands for TLS in the loop that accepts, where one silent caller stops all
others, and counts a silent caller as an association. Here nobody is an association before its
request (A-ASSOCIATE-RQ) is there whole. Those who have not come so far are at most
`MOST_UNKNOWN`; when there are more, the oldest from the address that has most of them has to go.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import select
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
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.transport import (
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from cxrclient.films import MAX_FILE_BYTES

_log = logging.getLogger(__name__)

HELLO_S = 5.0
"""From a connection to its whole request for an association, TLS included."""
STALL_S = 30.0
"""For one PDU, from its first byte to its last."""
IDLE_S = 60.0
"""Of an association between two messages."""
PDU_BYTES = 1 << 18
"""The largest PDU that we ask for; 16 KiB, as is usual, takes twice the time."""
MOST_UNKNOWN = 64
MOST_ASSOCIATIONS = 64
MOST_OF_ONE_ADDRESS = 48

_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # of Linux
_MOST_PDU_BYTES = 1 << 20  # of senders that do not keep to what we ask for
_RESTS_S, _LOOK_S = 0.5, 0.02
_REQUEST = 0x01  # A-ASSOCIATE-RQ. Source: DICOM PS3.8 table 9-11
_HEAD = 6  # type, reserved, length. Source: likewise
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


class Line(AssociationSocket):
    """An association's socket: each read has an end, in time and in bytes.

    Attributes:
        cut: the code of `NOTES`, or of a FilmError, for a message that ended before its end; None
            while none did.
        heard_at: when something came last, as of `time.monotonic`.
    """

    def __init__(self, assoc: Association, client_socket: socket.socket, request: bytes) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self.cut: str | None = None
        self.heard_at = time.monotonic()
        self._unread = request

    @property
    def rests(self) -> bool:
        """Whether nothing has come for a while: who looks for more need not look so often."""
        return time.monotonic() - self.heard_at > _RESTS_S

    @property
    def ready(self) -> bool:
        """Whether there is something to read."""
        if self._unread:
            return True
        if self.rests and self.socket is not None:
            with contextlib.suppress(OSError, ValueError):  # `super` says what it means
                select.select([self.socket], [], [], _LOOK_S)
        return super().ready

    def end(self) -> None:
        """End it, also while another thread reads."""
        if self.socket is not None:
            _end(self.socket)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, or fewer where the connection has ended or stalls."""
        if self._unread:
            read, self._unread = self._unread[:nr_bytes], self._unread[nr_bytes:]
            return bytearray(read)
        message = self.assoc.dimse.message
        if message is not None and message.data_set and message.data_set.tell() > MAX_FILE_BYTES:
            self.cut = "TOO_LARGE"
            return bytearray()
        if self.socket is None or nr_bytes > _MOST_PDU_BYTES:
            return bytearray()
        read_now = _read(self.socket, nr_bytes, time.monotonic() + STALL_S)
        self.heard_at = time.monotonic()
        if len(read_now) < nr_bytes and (read_now or nr_bytes != _HEAD or message is not None):
            self.cut = self.cut or "TRANSFER_ABORTED"
        return read_now


class _Messages(DIMSEServiceProvider):
    """Waits for the next message where pynetdicom looks for it a thousand times a second."""

    def get_msg(self, block: bool = False) -> Any:
        """Give the next message, or (None, None)."""
        line = self.dul.socket
        if block or not (isinstance(line, Line) and line.rests):
            return super().get_msg(block)
        try:
            return self.msg_queue.get(timeout=_LOOK_S)
        except queue.Empty:
            return None, None


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
            except OSError:
                request = b""
        if not request:
            self.server.shutdown_request(self.request)
            return
        self.request.settimeout(STALL_S)
        association = self._create_association()
        association.dul.event_queue.get_nowait()  # what the socket that we replace has put there
        association.dul.socket = Line(association, self.request, request)
        association.dimse = _Messages(association)
        association.start()


class Acceptor(ThreadedAssociationServer):
    """The server of `AE.make_server(…, server_class=Acceptor)`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.trouble: Trouble = lambda _code, _address, _sentence: None
        self._full = False
        self._lock = threading.Lock()
        self._unknown: list[_Unknown] = []
        more["request_handler"] = _Caller
        super().__init__(*arguments, **more)
        self.bind(evt.EVT_REQUESTED, self._reject_where_full)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and do nothing with it here that may wait."""
        caller, address = cast(socket.socket, self.socket).accept()
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
                _end(oldest.socket)
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
        associations = self.active_associations
        here = event.assoc.requestor.address
        of_here = sum(1 for each in associations if each.requestor.address == here)
        if self._full:
            self._reject(event.assoc, _CONGESTION)
        elif len(associations) > MOST_ASSOCIATIONS or of_here > MOST_OF_ONE_ADDRESS:
            self._reject(event.assoc, _LIMIT)

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
    made.dimse_timeout = STALL_S
    made.network_timeout = IDLE_S
    return made


def _end(connection: socket.socket) -> None:
    """End a connection that another thread reads from; an SSLSocket's own shutdown is for one."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _request(caller: _Unknown) -> bytes:
    """The whole first PDU, or nothing where it is no request for an association."""
    head = _read(caller.socket, _HEAD, caller.until)
    length = int.from_bytes(head[2:], "big")
    if len(head) < _HEAD or head[0] != _REQUEST or length > _MOST_PDU_BYTES:
        return b""
    rest = _read(caller.socket, length, caller.until)
    return bytes(head + rest) if len(rest) == length else b""


def _read(line: socket.socket, size: int, until: float) -> bytearray:
    """So many bytes; fewer where the connection ends, or does not give them in time."""
    read = bytearray(size)
    got = 0
    with memoryview(read) as view, contextlib.suppress(OSError):
        if _QUICK_ACK is not None:  # many senders wait for it, 40 ms, between head and body
            line.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        while got < size:
            line.settimeout(max(0.001, until - time.monotonic()))
            count = line.recv_into(view[got:])
            if count == 0:
                break
            got += count
    with contextlib.suppress(OSError):
        line.settimeout(STALL_S)  # for what is sent
    del read[got:]
    return read
