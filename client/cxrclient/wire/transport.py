"""Films over the line: bytes in, answers or our errors out.

Every error of gRPC or Triton is mapped here and in `line`, and nowhere else. The server's own
errors read `CODE: sentence`; that is all that is parsed of their text.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cxrclient.errors import FilmError, ServerError
from cxrclient.films import Part
from cxrclient.wire.address import Endpoint
from cxrclient.wire.connection import Connection, ServedModel, status_of
from cxrclient.wire.ensemble import ENSEMBLE
from cxrclient.wire.handshake import denied, is_denied, refusal
from cxrclient.wire.prediction import EnsembleInfo
from cxrclient.wire.request import infer_request

__all__ = ["Answer", "Sent", "ServedModel", "Transport", "film_error"]

_log = logging.getLogger(__name__)

# A cancelled request can crash or hang the server for everybody: measured with Triton 2.51, whose
# ensembles race with their own parallel steps then (docs/adr/0007). So no call is cancelled while
# there is hope that it ends: who no longer waits leaves it to finish by itself.
ABANDONED_CALL_S = 600.0
"""How much longer than its film's time limit a call may live that nobody waits for."""
DRAIN_AT_LEAST_S = 120.0
"""How long `close` waits for calls in flight, if a film's time limit is not longer still; what is
then open is cancelled after all, for it belongs to a server that hangs anyway."""

# What the preprocess step says of a film: sending the same film again gives the same answer.
_REJECTED = frozenset(
    {"NOT_READABLE", "NO_PIXELS", "MULTI_FRAME", "COLOUR", "CONSTANT", "TOO_LARGE"}
)
# Triton's own words for a step whose process is gone; it never starts one again by itself.
_DEAD_STEP = re.compile(r"Stub process '(?P<step>.+?)(?:_\d+_\d+)?' is not healthy")
_CODE_AND_SENTENCE = re.compile(r"\b([A-Z][A-Z0-9_]{2,}): (.+)", re.DOTALL)


@dataclass
class Sent:
    """What went over the wire so far.

    Attributes:
        films: requests, those of a film that was sent again included.
        bytes: of these films, as they were sent.
    """

    films: int = 0
    bytes: int = 0


class Answer(NamedTuple):
    """What the server said of a film.

    Attributes:
        message: a serialised `ModelInferResponse`, unread.
        latency_ms: from sending the film to having it, the server's queues included.
        ensemble: what the server said of itself right after.
    """

    message: bytes
    latency_ms: float
    ensemble: EnsembleInfo


def film_error(error: ServerError) -> FilmError:
    """The server's fate as the fate of one film."""
    return FilmError(error.code, error.message, status="failed", retriable=error.retriable)


class Transport(Connection):
    """A line for films; belongs to the event loop that it is first used in.

    Args:
        address: `HOST:PORT` of the server's gRPC endpoint, or that with what it takes to get in.
        timeout_s: the most that the server may take for a film, its queues included.

    Attributes:
        sent: what went over the wire so far.

    Raises:
        UsageError: the address is not one.
    """

    def __init__(self, address: str | Endpoint, timeout_s: float) -> None:
        super().__init__(address)
        self.sent = Sent()
        self._timeout_s = timeout_s
        self._calls: set[asyncio.Task[Answer]] = set()

    async def close(self, *, drain: bool = True) -> None:
        """Send nothing more, let calls in flight end, close the channel; harmless twice.

        Args:
            drain: False cancels calls in flight at once; so does cancelling this coroutine.
        """
        self.shut()
        try:
            if drain and self._calls:
                _log.info("waiting for %d films in flight", len(self._calls))
                limit_s = max(self._timeout_s, DRAIN_AT_LEAST_S)
                await asyncio.wait(self._calls, timeout=limit_s)
        finally:
            await super().close()

    def request(self, payload: Sequence[Part], outputs: tuple[str, ...]) -> bytes:
        """What `send` takes for a film. May be called in any thread.

        Args:
            payload: an encoded film, in parts.
            outputs: names of the ensemble's outputs.
        """
        return infer_request(ENSEMBLE, payload, outputs)

    def send(self, request: bytes) -> asyncio.Task[Answer]:
        """Send one film; the call ends when the server answers, whether anybody waits or not.

        An answer does not say which model it is of, gRPC reconnects silently, and a server may
        reload: so the server is asked what it serves after each answer (docs/adr/0015).

        Args:
            request: from `request`.

        Raises:
            UsageError: the connection is closed.
        """
        self.require_open()
        self.sent.films += 1
        self.sent.bytes += len(request)
        call = asyncio.ensure_future(self._asked(request))
        self._calls.add(call)
        call.add_done_callback(self._forget)
        return call

    async def _asked(self, request: bytes) -> Answer:
        started = time.perf_counter()
        message = await self.infer(request, self._timeout_s + ABANDONED_CALL_S)
        latency_ms = (time.perf_counter() - started) * 1000.0
        return Answer(message, latency_ms, await self.ensemble_from_now())

    async def answer(self, call: asyncio.Task[Answer]) -> Answer:
        """Wait for a call's answer; may be done again for a call whose time ran out.

        Raises:
            FilmError: every fate that is not an answer.
        """
        from grpc.aio import AioRpcError

        try:
            return await asyncio.wait_for(asyncio.shield(call), self._timeout_s)
        except TimeoutError as error:
            raise self._timeout() from error
        except AioRpcError as error:
            raise await self._film_error(error) from error
        except ServerError as error:
            raise film_error(error) from error

    def _forget(self, call: asyncio.Task[Answer]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # looked at, so that asyncio does not complain of an abandoned call

    async def _film_error(self, error: Any) -> FilmError:
        status, details = status_of(error), error.details() or ""
        if is_denied(error):
            return film_error(denied(self.endpoint, error))
        # Nobody here cancels a call that is waited for: a server that ends does.
        if status in ("UNAVAILABLE", "CANCELLED"):
            return await self._unavailable(error)
        if status == "DEADLINE_EXCEEDED":
            return self._timeout()
        if status == "NOT_FOUND":
            return await self._without_ensemble(error)
        if dead := _DEAD_STEP.search(details):
            return FilmError(
                "STEP_DIED",
                f"The step {dead['step']} of the server has died. Send it again: `cxrclient serve` "
                "and the image start their server again; any other Triton is to be started again.",
                status="failed",
                retriable=True,
            )
        if status == "RESOURCE_EXHAUSTED" and "larger than max" in details:  # gRPC's own words
            return FilmError(
                "BAD_ANSWER",
                "The server's answer is larger than any answer of this ensemble. Is it a server of "
                "cxr-triton?",
                status="failed",
            )
        found = _CODE_AND_SENTENCE.search(details)
        if found is None:
            return FilmError(
                "SERVER_ERROR",
                f"The server could not compute an answer ({status}). Its log says why.",
                status="failed",
                retriable=status == "RESOURCE_EXHAUSTED",
            )
        return FilmError(
            found[1], _sentence(found[2]), status="rejected" if found[1] in _REJECTED else "failed"
        )

    def _timeout(self) -> FilmError:
        return FilmError(
            "TIMEOUT",
            f"No answer within {self._timeout_s:g} s. Allow more with `timeout_s`, or send fewer "
            "at a time with `jobs`.",
            status="failed",
            retriable=True,
        )

    async def _without_ensemble(self, error: Any) -> FilmError:
        """The server had the ensemble, and has it no more: it stops, loads, or is another one."""
        try:
            await self.configuration()
        except ServerError as why:
            return film_error(why)
        return await self._unavailable(error)  # it has it again

    async def _unavailable(self, error: Any) -> FilmError:
        """UNAVAILABLE means that the server is gone, or that it is there and its queue is full."""
        if not await self.is_live():
            # A certificate can expire on the way. Without TLS no server begins to ask for it.
            refused = await refusal(self.endpoint, error) if self.endpoint.tls else None
            return film_error(refused or self.unreachable())
        return FilmError(
            "SERVER_BUSY",
            "The server turned the film away. Send it again later.",
            status="failed",
            retriable=True,
        )


def _sentence(text: str) -> str:
    """Servers speak in lower case after their code; in a table it reads as a sentence."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
