"""The node's HTTP server, in a thread of its own: from start to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aiohttp import web

from cxrclient.errors import NodeError, UsageError
from cxrclient.node.descriptors import ran_out
from cxrclient.node.network.addresses import bound_to
from cxrclient.node.network.tls import server_context
from cxrclient.node.options import NodeOptions
from cxrclient.node.spool.spool import Spool
from cxrclient.node.watch.drift import Drift
from cxrclient.node.watch.metrics import Metrics
from cxrclient.node.web.access import Access
from cxrclient.node.web.application import Pages, application
from cxrclient.node.web.callers import Callers, Greetings
from cxrclient.node.web.stow import Store

_log = logging.getLogger(__name__)
FIRST_WORD_S = 30.0
_TAKERS, _READERS = 4, 2
_BACKLOG = 256
Readiness = Callable[[], dict[str, tuple[bool, str]]]


class WebListener:
    """Takes films by STOW-RS; tells of health, metrics, results and drift.

    Args:
        options: the node's; a port of 0 is any free one.
        spool: which films go into, and what is told of.
        readiness: name of a part → whether it works, and one sentence; answers at once. `spool`
            decides whether the node is ready.
        drift: of the films of each day.

    Raises:
        NodeError: anybody on the network could store films; a certificate cannot be used.
        UsageError: the token's file cannot be read.
    """

    def __init__(
        self, options: NodeOptions, spool: Spool, readiness: Readiness, drift: Drift
    ) -> None:
        access = Access.of(options)
        try:
            self._tls = server_context(options.tls, Greetings)
        except UsageError as error:
            raise NodeError(error.message) from error
        self._host, self._port = options.host, options.http_port
        self._takers = ThreadPoolExecutor(_TAKERS, "stow")
        self._readers = ThreadPoolExecutor(_READERS, "web")
        self._store = Store(spool, access, self._takers)
        metrics = Metrics(options, spool, drift)
        self._pages = Pages(spool, readiness, metrics, drift, self._store, access, self._readers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._within_s = 0.0

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        return self._port

    def start(self) -> None:
        """Listen from here on.

        Raises:
            NodeError: the port is taken, or the address is not this machine's.
        """
        listening = bound_to(self._host, self._port, self._bind)
        self._port = listening.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listening, ready), name="web", daemon=True
        )
        self._thread.start()
        ready.wait()
        if self._loop is None:
            raise NodeError("The node's HTTP server did not start; the log says why.")
        _log.info("STOW-RS, health, metrics and results: %s port %d.", self._host, self._port)
        if self._pages.access.needs_token and self._tls is None:
            _log.warning(
                "Others can read the token on its way here: give --tls-cert and --tls-key, or let "
                "a proxy speak TLS."
            )

    def stop_taking(self) -> None:
        """Take no more films; who sends one is told to come again. Harmless twice."""
        self._store.taking = False

    def stop(self, within_s: float) -> None:
        """Answer what is in hand, then end; harmless twice.

        Args:
            within_s: how long that may take.
        """
        self.stop_taking()
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None:
            return
        self._within_s = within_s
        self._loop.call_soon_threadsafe(self._end.set)
        thread.join(within_s + 1.0)
        for pool in (self._takers, self._readers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _bind(self) -> socket.socket:
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        family, *_, address = found[0]
        both = address[0] == "::" and socket.has_dualstack_ipv6()  # as the DICOM port does
        return socket.create_server(
            address[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=both
        )

    def _run(self, listening: socket.socket, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(listening, ready))
        finally:
            ready.set()

    async def _serve(self, listening: socket.socket, ready: threading.Event) -> None:
        self._end = asyncio.Event()
        loop = asyncio.get_running_loop()
        callers = Callers(self._pages.spool, self._readers, self._tls, FIRST_WORD_S)
        loop.set_exception_handler(partial(self._fault, callers))
        runner = web.AppRunner(application(self._pages), access_log=None, handle_signals=False)
        await runner.setup()
        callers.server = runner.server
        server = await loop.create_server(callers, sock=listening, backlog=_BACKLOG)
        self._loop = loop
        ready.set()
        await self._end.wait()
        server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._within_s):
                while self._store.reading:  # aiohttp reads nothing more once it cleans up
                    await asyncio.sleep(0.02)
                await runner.cleanup()
        callers.end()

    def _fault(
        self, callers: Callers, _loop: asyncio.AbstractEventLoop, told: dict[str, Any]
    ) -> None:
        """Say what kind of failure a connection had, and nothing of its content."""
        error = told.get("exception")
        if ran_out(error):
            callers.note("NO_DESCRIPTORS", "anybody")
        _log.debug("A connection over HTTP failed (%s).", type(error).__name__)
