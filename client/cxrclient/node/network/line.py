"""One association's connection: each read and each message has an end, in time and in bytes."""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, DIMSEMessage
from pynetdicom.transport import AssociationSocket

from cxrclient.films import MAX_FILE_BYTES

STALL_S = 30.0
"""For one PDU, from its first byte to its last."""
PATIENCE_S = 10.0
"""Of others with the object that came first, while all together take too much memory."""
MOST_PDU_BYTES = 1 << 20
"""Of senders that do not keep to what we ask for."""
MOST_COMMAND_BYTES = 1 << 14
"""Of a command set; that of a C-STORE has some 300."""
MOST_HELD_BYTES = 1 << 28
"""Of the objects of all associations, from their first byte till they are answered."""
HEAD_BYTES = 6
"""Type, reserved, length of a PDU. Source: DICOM PS3.8 table 9-11."""

_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # of Linux
_RESTS_S, _LOOK_S = 0.5, 0.02
_COMMAND = 1  # in a fragment's first byte; else it is of the data set. Source: PS3.8 annex E.2


@dataclass
class Hand:
    """A message from its first fragment till it is answered."""

    begun_at: float = field(default_factory=time.monotonic)
    held: int = 0


class Line(AssociationSocket):
    """An association's socket.

    Attributes:
        cut: the code of `NOTES`, or of a FilmError, for what ended it before its end; None while
            nothing did.
        heard_at: when something came or was answered last, as of `time.monotonic`.
        leaves: whether it has been told to go.
    """

    def __init__(
        self, assoc: Association, client_socket: socket.socket, request: bytes, memory: Memory
    ) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self.cut: str | None = None
        self.heard_at = time.monotonic()
        self.leaves = False
        self.messages = Messages(assoc, self)
        self._memory = memory
        self._unread = request

    @property
    def rests(self) -> bool:
        """Whether nothing has come for a while: who looks for more need not look so often."""
        return time.monotonic() - self.heard_at > _RESTS_S

    @property
    def ready(self) -> bool:
        """Whether there is something to read, and room for it."""
        if self._unread:
            return True
        if not self.messages.msg_queue.empty():
            return False  # who does not wait for answers is not read ahead of them
        if not self._memory.has_room(self):
            time.sleep(_LOOK_S)
            return False
        if self.rests and self.socket is not None:
            with contextlib.suppress(OSError, ValueError):  # `super` says what it means
                select.select([self.socket], [], [], _LOOK_S)
        return super().ready

    def end(self) -> None:
        """End it, also while another thread reads."""
        if self.socket is not None:
            end_connection(self.socket)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, or fewer where the connection has ended or stalls."""
        if self._unread:
            read, self._unread = self._unread[:nr_bytes], self._unread[nr_bytes:]
            return bytearray(read)
        if nr_bytes > MOST_PDU_BYTES:
            self.cut = self.cut or "PROTOCOL_WRONG"
            return bytearray()
        if self.socket is None:
            return bytearray()
        read_now = read_from(self.socket, nr_bytes, time.monotonic() + STALL_S)
        self.heard_at = time.monotonic()
        in_message = self.messages.message is not None
        if len(read_now) < nr_bytes and (read_now or nr_bytes != HEAD_BYTES or in_message):
            self.cut = self.cut or "TRANSFER_ABORTED"
        return read_now


class Messages(DIMSEServiceProvider):
    """An association's messages: C-STORE and C-ECHO, each of a size that it may have.

    Waits for the next message where pynetdicom looks for it a thousand times a second.

    Attributes:
        hands: the messages that are not answered yet; the first may be the one being served.
    """

    def __init__(self, assoc: Association, line: Line) -> None:
        super().__init__(assoc)
        self.hands: list[Hand] = []
        self._line = line
        self._serves = False

    @property
    def unfinished(self) -> Hand | None:
        """The message of which not all is here."""
        hands = self.hands[-1:]
        return hands[0] if hands and self.message is not None else None

    def get_msg(self, block: bool = False) -> Any:
        """Give the next message, or (None, None); the one before is answered by now."""
        if self._serves:
            self._serves = False
            self._line.heard_at = time.monotonic()
            self.hands.pop(0)
        message: Any = None, None
        if block or not self._line.rests:
            message = super().get_msg(block)
        else:
            with contextlib.suppress(queue.Empty):
                message = self.msg_queue.get(timeout=_LOOK_S)
        self._serves = message[1] is not None
        return message

    def receive_primitive(self, primitive: Any) -> None:
        """Add fragments to the message that they are of; end the association where they are odd."""
        if self._line.cut:
            return
        if self.message is None:
            self.message = DIMSEMessage()
            self.hands.append(Hand())
        message, hand = self.message, self.hands[-1]
        wrong = self._wrong(message, hand, primitive.presentation_data_value_list)
        if wrong is None:
            try:
                super().receive_primitive(primitive)
            except Exception:  # whatever makes pydicom stumble over a damaged command set
                wrong = "PROTOCOL_WRONG"
            if len(message.command_set) and type(message) not in _TAKEN:
                wrong = "PROTOCOL_WRONG"
        if wrong is not None:
            self._line.cut, hand.held = wrong, 0
            message.data_set, message.encoded_command_set = BytesIO(), BytesIO()
            self.dul.event_queue.put("Evt19")  # A-ABORT. Source: PS3.8 table 9-10

    def _wrong(
        self, message: DIMSEMessage, hand: Hand, fragments: list[tuple[int, bytes]]
    ) -> str | None:
        """Take fragments into account; why they must not be taken, as a code."""
        command = message.encoded_command_set.tell()
        for context, fragment in fragments:
            if not fragment or context not in self.assoc._accepted_cx:
                return "PROTOCOL_WRONG"
            hand.held += len(fragment)
            command += len(fragment) if fragment[0] & _COMMAND else 0
        if command > MOST_COMMAND_BYTES:
            return "PROTOCOL_WRONG"
        return "TOO_LARGE" if hand.held > MAX_FILE_BYTES else None


_TAKEN = (C_STORE_RQ, C_ECHO_RQ)


class Memory:
    """What the objects of all associations may take together.

    With more than that only the object that began first is read on. It is cut where it keeps others
    waiting for `PATIENCE_S`, or takes half of all.

    Args:
        lines: gives those of all associations.
    """

    def __init__(self, lines: Callable[[], list[Line]]) -> None:
        self._lines = lines
        self._lock = threading.Lock()
        self._full = False
        self._looked_at = 0.0
        self._first: Hand | None = None
        self._first_since = 0.0

    def has_room(self, line: Line) -> bool:
        """Whether more of a line's object may be read; a new message always begins."""
        hand, now = line.messages.unfinished, time.monotonic()
        if hand is None or (not self._full and now - self._looked_at < _LOOK_S):
            return True
        with self._lock:
            self._looked_at = now
            lines = self._lines()
            held = sum(each.held for line in lines for each in line.messages.hands[:])
            self._full = held > MOST_HELD_BYTES
            if not self._full:
                self._first = None
                return True
            unfinished = [
                (each, of) for of in lines if (each := of.messages.unfinished) and not of.cut
            ]
            if not unfinished:
                return True
            first, its_line = min(unfinished, key=lambda found: found[0].begun_at)
            if first is not self._first:
                self._first, self._first_since = first, now
            waits = first is not hand and now - self._first_since > PATIENCE_S
            if waits or (len(unfinished) > 1 and first.held > MOST_HELD_BYTES // 2):
                its_line.cut, first.held = "MEMORY_FULL", 0
                its_line.end()
                return False
            if first is hand:
                return held - sum(each.held for each, _ in unfinished) <= MOST_HELD_BYTES
            return False


def end_connection(connection: socket.socket) -> None:
    """End a connection that another thread reads from; an SSLSocket's own shutdown is for one."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def read_from(line: socket.socket, size: int, until: float) -> bytearray:
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
