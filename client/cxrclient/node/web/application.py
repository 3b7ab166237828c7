"""The node's pages: which URL is answered by what, and how faults are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from cxrclient.faults import INTERNAL, internal_error
from cxrclient.node.spool.spool import Spool
from cxrclient.node.watch.drift import Drift
from cxrclient.node.watch.metrics import Metrics
from cxrclient.node.web.access import Access, Refused
from cxrclient.node.web.faults import NOTICE, fault
from cxrclient.node.web.results import page
from cxrclient.node.web.stow import Store

_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Pages:
    """What the pages are made of.

    Attributes:
        spool: what is told of.
        readiness: as of WebListener.
        metrics: for Prometheus.
        drift: of the films of each day.
        store: takes films.
        access: who may do what.
        pool: whose threads ask the spool.
    """

    spool: Spool
    readiness: Callable[[], dict[str, tuple[bool, str]]]
    metrics: Metrics
    drift: Drift
    store: Store
    access: Access
    pool: Executor

    async def live(self, _request: web.Request) -> web.Response:
        """Say that the process answers."""
        return web.json_response({"live": True})

    async def ready(self, _request: web.Request) -> web.Response:
        """Say whether films are taken, and what works.

        Films are taken while the spool takes them, whatever else is away: they wait. So the spool
        alone decides between 200 and 503 (its disk is low, its queue is full, or the node ends);
        the body tells of all parts.
        """
        parts = await self._ask(self.readiness)
        takes = self.store.taking and parts.get("spool", (True, ""))[0]
        told = {name: {"works": works, "told": told} for name, (works, told) in parts.items()}
        return web.json_response({"ready": takes, "parts": told}, status=200 if takes else 503)

    async def prometheus(self, _request: web.Request) -> web.Response:
        """Give the metrics."""
        text = await self._ask(lambda: self.metrics.text(self.readiness()))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def films(self, request: web.Request) -> web.Response:
        """Store films."""
        return await self.store.films(request)

    async def results(self, request: web.Request) -> web.Response:
        """Give a page of results."""
        self.access.require_reader(request.headers.get("Authorization"))
        told = await self._ask(page, self.spool.view, request.query)
        return _for_readers(told)

    async def days(self, request: web.Request) -> web.Response:
        """Give the drift by day."""
        self.access.require_reader(request.headers.get("Authorization"))
        days = await self._ask(self.drift.by_day)
        reference = await self._ask(self.drift.about_reference)
        return _for_readers({"days": days, "reference": reference})

    async def _ask(self, question: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, question, *values)


def application(pages: Pages) -> web.Application:
    """Give what answers requests."""
    answers = web.Application(middlewares=[_told_faults])
    answers.add_routes(
        [
            web.post("/dicom-web/studies", pages.films),
            web.post("/dicom-web/studies/{study}", pages.films),
            web.get("/health/live", pages.live),
            web.get("/health/ready", pages.ready),
            web.get("/metrics", pages.prometheus),
            web.get("/results", pages.results),
            web.get("/drift", pages.days),
        ]
    )
    return answers


def _for_readers(told: dict[str, Any]) -> web.Response:
    return web.json_response({"notice": NOTICE, **told}, headers={"Cache-Control": "no-store"})


@web.middleware
async def _told_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a fault as JSON, with a code and what to do, and without a word of the request's."""
    try:
        return await handler(request)
    except Refused as error:
        return fault(error.status, error.code, error.headers)
    except web.HTTPException as error:
        allow = error.headers.get("Allow")
        return fault(error.status, "NO_SUCH_PAGE", {"Allow": allow} if allow else None)
    except Exception as error:
        _log.error("A request failed: %s", internal_error(error).message)
        return fault(500, INTERNAL)
