"""Who is connected over HTTP: at most so many, each with an end; and what the refused are told.

asyncio's own listener has no limit, tells nobody why TLS does not come about, and drops the alert
that OpenSSL has made for the other side. So connections are accepted here without TLS, counted,
and only then greeted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import ContextVar
from typing import Any, cast

from aiohttp import web

from cxrclient.faults import INTERNAL, internal_error
from cxrclient.node.network.acceptor import HELLO_S
from cxrclient.node.spool.once import CallerNotes
from cxrclient.node.spool.spool import Spool
from cxrclient.node.web.faults import fault

_log = logging.getLogger(__name__)
MOST = 64
MOST_OF_ONE_ADDRESS = 48
SILENT_S = 30.0
"""Who says nothing for so long is silent, also in the middle of a request."""

_greeted: ContextVar[asyncio.WriteTransport] = ContextVar("greeted")


class Callers:
    """Makes what answers each connection; the oldest silent one goes where there are too many.

    Args:
        spool: keeps what befell them.
        pool: whose threads write that.
        tls: of `Greetings`; None: without TLS.
        first_word_s: from a connection, or an answer, to the next whole request's head.
    """

    def __init__(
        self, spool: Spool, pool: Executor, tls: ssl.SSLContext | None, first_word_s: float
    ) -> None:
        self._pool, self.tls = pool, tls
        self._handling = {
            "keepalive_timeout": first_word_s,
            "access_log": None,
            "logger": _silent(),
        }
        self._lines: list[_Line] = []
        self._notes = CallerNotes(spool)
        self.server: web.Server | None = None

    def __call__(self) -> asyncio.Protocol:
        """Make what greets a connection."""
        return _Line(self)

    def handler(self, line: _Line) -> _Handler:
        """Make what answers a connection's requests."""
        loop = asyncio.get_running_loop()
        return _Handler(line, self.server, loop=loop, **self._handling)

    def admit(self, line: _Line) -> bool:
        """Let a connection in, if there is room or a silent one makes some."""
        of_one = [each for each in self._lines if each.address == line.address]
        if len(of_one) >= MOST_OF_ONE_ADDRESS or len(self._lines) >= MOST:
            self.note("TOO_MANY_CALLERS", line.address)
            here = of_one if len(of_one) >= MOST_OF_ONE_ADDRESS else self._lines
            silent = [each for each in here if each.silent]
            if not silent:
                return False
            ((most, _),) = Counter(each.address for each in silent).most_common(1)
            oldest = min(
                (each for each in silent if each.address == most), key=lambda each: each.heard_at
            )
            self.gone(oldest)
            oldest.end()
        self._lines.append(line)
        return True

    def gone(self, line: _Line) -> None:
        """Count a connection no more; harmless twice."""
        with contextlib.suppress(ValueError):
            self._lines.remove(line)

    def end(self) -> None:
        """End whatever is left."""
        for line in self._lines:
            line.end()

    def note(self, code: str, address: str, sentence: str = "") -> None:
        """Note what befell a caller, but the same only once a minute: callers try again."""
        if not self._notes.due(code, address, sentence):
            return
        with contextlib.suppress(RuntimeError):  # the node ends
            self._pool.submit(self._notes.write, code, address, sentence)


class _Line(asyncio.Protocol):
    """A connection, until its requests have a handler, which tells it what it hears."""

    def __init__(self, callers: Callers) -> None:
        self.callers = callers
        self.address = ""
        self.heard_at = time.monotonic()
        self._transport: asyncio.Transport | None = None
        self._handler: _Handler | None = None
        self._early = b""  # what came within TLS before its end was known here
        self._lost = False

    @property
    def silent(self) -> bool:
        """Whether it may go: it waits for a request, or says nothing."""
        in_hand = self._handler is not None and self._handler.in_hand
        return not in_hand or time.monotonic() - self.heard_at > SILENT_S

    def end(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, and greet it where TLS is spoken."""
        self._transport = transport = cast(asyncio.Transport, transport)
        self.address = str((transport.get_extra_info("peername") or [""])[0])
        if not self.callers.admit(self):
            self.end()
        elif self.callers.tls is None:
            self._hand_over(transport)
        else:
            self._greeting = asyncio.get_running_loop().create_task(
                self._greet(transport, self.callers.tls)
            )

    def data_received(self, data: bytes) -> None:
        """Keep what comes before the handler."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self._lost = True
        self.callers.gone(self)

    async def _greet(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        _greeted.set(transport)
        secured = None
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, self, tls, server_side=True, ssl_handshake_timeout=HELLO_S
            )
        except ssl.SSLError as error:
            self.callers.note("CALLER_TLS", self.address, f"TLS says {error.reason or 'nothing'}.")
        except OSError:
            pass  # it only looked whether the port is open, or says nothing
        if secured is None or self._lost:
            self.connection_lost(None)
        else:
            self._hand_over(secured)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        self._handler = handler = self.callers.handler(self)
        transport.set_protocol(handler)
        handler.connection_made(transport)
        if self._early:
            handler.data_received(self._early)


class _Handler(web.RequestHandler):
    """aiohttp's, which tells its line what it hears, and whose own refusals are ours."""

    def __init__(self, line: _Line, *values: Any, **more: Any) -> None:
        super().__init__(*values, **more)
        self._line = line

    @property
    def in_hand(self) -> bool:
        """Whether a request is being answered."""
        return self._request_in_progress

    def data_received(self, data: bytes) -> None:
        """Hear."""
        self._line.heard_at = time.monotonic()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more."""
        self._line.callers.gone(self._line)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP; aiohttp's own answer quotes it."""
        if request.writer.output_size > 0:
            raise ConnectionError("An answer has begun already.")
        if status < 500:
            return self._refused(status)
        if isinstance(exc, Exception):
            _log.error("A request failed: %s", internal_error(exc).message)
        answer = fault(status, INTERNAL)
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; that of aiohttp to an unknown Expect comes past all else."""
        if isinstance(resp, web.HTTPException):
            resp = self._refused(resp.status)
        return await super().finish_response(request, resp, start_time)

    def _refused(self, status: int) -> web.Response:
        self._line.callers.note("REQUEST_BROKEN", self._line.address)
        answer = fault(status, "REQUEST_BROKEN")
        answer.force_close()
        return answer


class _Handshake(ssl.SSLObject):
    """Sends the alert that tells the other side why it is refused."""

    tell: Callable[[], None]

    def do_handshake(self) -> None:
        """Shake hands, or say why not."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            self.tell()
            raise


class Greetings(ssl.SSLContext):
    """What `Callers` speak TLS with."""

    sslobject_class = _Handshake

    def wrap_bio(self, incoming: Any, outgoing: ssl.MemoryBIO, *more: Any, **named: Any) -> Any:
        """Make one side of a TLS connection."""
        made = super().wrap_bio(incoming, outgoing, *more, **named)
        line = _greeted.get()
        made.tell = lambda: line.write(outgoing.read())  # type: ignore[attr-defined]
        return made


def _silent() -> logging.Logger:
    """A log for aiohttp's own words, which quote what callers send."""
    quiet = logging.getLogger(f"{__name__}.aiohttp")
    quiet.disabled = True
    return quiet
