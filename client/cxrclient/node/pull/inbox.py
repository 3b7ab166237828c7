"""Where a PACS sends what C-MOVE asks for: a listener that takes what is awaited, and no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pynetdicom import build_context, evt

from cxrclient.errors import FilmError, UsageError
from cxrclient.node.network.acceptor import Acceptor, entity
from cxrclient.node.network.addresses import bound_to
from cxrclient.node.network.tls import server_context
from cxrclient.node.options import TlsFiles
from cxrclient.node.pull.pacs import Keep

# Source: DICOM PS3.7 annex C, PS3.4 table B.2-1.
_SUCCESS, _NOT_AUTHORISED, _OUT_OF_RESOURCES, _CANNOT_UNDERSTAND = 0x0000, 0x0124, 0xA700, 0xC000
_ECHO = "1.2.840.10008.1.1"


@dataclass
class Awaited:
    """A film that the PACS was asked to send.

    Attributes:
        keep: takes its file.
        came: whether it is kept.
        error: why it could not be.
    """

    keep: Keep
    came: bool = False
    error: FilmError | OSError | None = None


class Inbox:
    """A listener for C-STORE.

    Args:
        aet: our AE title, which a caller must call.
        host: address to listen on.
        port: for DICOM.
        tls: of the listener.

    Attributes:
        called: whether anybody ever asked for an association.

    Raises:
        NodeError: the port is taken.
        UsageError: the AE title is none, or a file of TLS cannot be used.
    """

    def __init__(self, aet: str, host: str, port: int, tls: TlsFiles) -> None:
        self.called = False
        self._awaited: dict[str, Awaited] = {}
        self._lock = threading.Lock()
        try:
            listening = entity(aet)
        except ValueError as error:
            raise UsageError(
                "An AE title has 1 to 16 characters of ASCII, without a backslash. Mend --aet."
            ) from error
        listening.require_called_aet = True
        context = server_context(tls)

        def bind() -> Acceptor:
            server: Any = listening.make_server(
                (host, port),
                contexts=[build_context(_ECHO)],
                ssl_context=context,
                evt_handlers=[(evt.EVT_REQUESTED, self._offer), (evt.EVT_C_STORE, self._store)],
                server_class=Acceptor,
            )
            made: Acceptor = server
            return made

        self._server = bound_to(host, port, bind)
        threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="inbox", daemon=True
        ).start()

    def close(self) -> None:
        """Let the port go."""
        for association in self._server.active_associations:
            association.abort(block=False)
        self._server.shutdown()

    @contextmanager
    def awaiting(self, uid: str, keep: Keep) -> Iterator[Awaited]:
        """Take a film while the block lasts.

        Args:
            uid: its SOP Instance UID.
            keep: is called before its sender hears yes.
        """
        awaited = Awaited(keep)
        with self._lock:
            self._awaited[uid] = awaited
        try:
            yield awaited
        finally:
            with self._lock:
                del self._awaited[uid]

    def _offer(self, event: evt.Event) -> None:
        """Take any class, in the caller's first choice of syntax: so it need not decode a film."""
        self.called = True
        request = event.assoc.requestor.primitive
        wished: dict[str, dict[str, None]] = {}
        for context in request.presentation_context_definition_list if request else ():
            syntaxes = wished.setdefault(str(context.abstract_syntax), {})
            syntaxes |= dict.fromkeys(map(str, context.transfer_syntax))
        event.assoc.acceptor.supported_contexts = [
            build_context(name, list(syntaxes)) for name, syntaxes in wished.items()
        ]

    def _store(self, event: evt.Event) -> int:
        request: Any = event.request
        with self._lock:
            awaited = self._awaited.get(str(request.AffectedSOPInstanceUID))
        if awaited is None:
            return _NOT_AUTHORISED
        try:
            awaited.keep(event.encoded_dataset())
        except FilmError as error:
            awaited.error = error
            return _CANNOT_UNDERSTAND
        except OSError as error:
            awaited.error = error
            return _OUT_OF_RESOURCES
        awaited.came = True
        return _SUCCESS
