"""Films in, predictions out: in order, one film a request, a bounded number in flight."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Self

from cxrclient.errors import CxrClientError, FilmError, ServerError, UsageError
from cxrclient.faults import internal_error
from cxrclient.films import Film, Source, path_of, read_parts
from cxrclient.settings import DEFAULT_ADDRESS, DEFAULT_JOBS, DEFAULT_TIMEOUT_S
from cxrclient.wire.address import Endpoint
from cxrclient.wire.ensemble import EnsembleInfo
from cxrclient.wire.patience import Patience
from cxrclient.wire.prediction import Prediction, prediction_from_answer
from cxrclient.wire.slots import NoSlotError, Slot, Slots
from cxrclient.wire.transport import Answer, Transport, film_error

TENSORS = ("PROBABILITY", "MEMBERS", "VOTES", "EMBEDDING", "LUNGS", "GEOMETRY", "FLAGS")
_MAPS = ("HEATMAP", "CXR")
_TRIES = 2
"""How often a film is sent whose server changes its model meanwhile."""


@dataclass(frozen=True)
class Traffic:
    """What a client has sent so far.

    Attributes:
        films_sent: requests, repeated ones included.
        bytes_sent: of these requests.
        retries: how many of the tries were not a film's first.
    """

    films_sent: int
    bytes_sent: int
    retries: int


class AsyncCxrClient:
    """The client for code that has an event loop; `CxrClient` is the same without one.

    Args:
        address: `HOST:PORT` of the server's gRPC endpoint, `grpcs://HOST:PORT` for TLS, or an
            `Endpoint` with certificates and token.
        jobs: films in memory and on the wire at most, those included whose time ran out and that
            the server still computes.
        timeout_s: the most that the server may take for a film, its queues included. A film that
            finds all `jobs` taken fails once none of them has ended for this long.
        retry_for_s: how long to retry while the server restarts, turns films away or takes longer
            than `timeout_s`, counted from the first failure. A film whose time ran out is waited
            for again, and sent again only after its call has ended.
        gate: whether a film that the server's admission turns away fails (rejected, with its code);
            without the gate it is predicted, and `Prediction.warnings` keeps the reasons.
        keep_files: whether the film of a result has the bytes of its file, for DICOM results.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        address: str | Endpoint = DEFAULT_ADDRESS,
        *,
        jobs: int = DEFAULT_JOBS,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry_for_s: float = 0.0,
        gate: bool = True,
        keep_files: bool = False,
    ) -> None:
        if jobs < 1:
            raise UsageError(f"jobs must be at least 1, not {jobs}.")
        if not timeout_s > 0:
            raise UsageError(f"timeout_s must be positive, not {timeout_s}.")
        if not retry_for_s >= 0:
            raise UsageError(f"retry_for_s must not be negative, not {retry_for_s}.")
        self.jobs = jobs
        self.timeout_s = timeout_s
        self.gate = gate
        self.keep_files = keep_files
        self._transport = Transport(address, timeout_s)
        self._slots = Slots(jobs, timeout_s + retry_for_s)
        self._patience = Patience(retry_for_s)
        self._model: EnsembleInfo | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def connect(self) -> EnsembleInfo:
        """Read what the server says of its ensemble.

        Raises:
            ServerUnreachable: nothing answers at the address.
            ServerUnfit: it does not serve the ensemble as we know it.
        """
        self._transport.open()
        try:
            self._model = await self._transport.ensemble()
        except ServerError:
            await self.close()
            raise
        return self._model

    async def close(self, *, drain: bool = True) -> None:
        """Close the connection once the films in flight have ended; harmless twice.

        They get two minutes, or `timeout_s` where that is longer: cancelled requests can crash the
        server (docs/adr/0007).

        Args:
            drain: False does not wait, and cancels them.
        """
        await self._transport.close(drain=drain)

    @property
    def model(self) -> EnsembleInfo:
        """What the server said of its ensemble, at `connect` or with a later film."""
        if self._model is None:
            raise UsageError("The client is not connected; use it in a `with` block.")
        return self._model

    @property
    def traffic(self) -> Traffic:
        """What was sent so far."""
        sent = self._transport.sent
        return Traffic(sent.films, sent.bytes, self._patience.retries)

    async def server_version(self) -> str:
        """Triton's version.

        Raises:
            ServerUnreachable: nothing answers.
        """
        return await self._transport.version()

    async def predict(self, source: Source, *, maps: bool = False) -> Prediction:
        """Predict one film.

        Args:
            source: a path, the bytes of a DICOM, PNG or JPEG file, such a file that is open, a
                numpy array, an image of Pillow, a `pydicom.Dataset` (`read_film` tells what becomes
                of each), or a `Film` that was read.
            maps: whether to keep lungs, heatmap, the film as the networks saw it, and geometry.

        Raises:
            FilmError: the film has no prediction; `status`, `code` and the message say why.
        """
        path = path_of(source)
        try:
            async with self._slots.slot() as slot:
                return await self._predict(source, maps, slot)
        except NoSlotError as error:
            raise self._busy(path) from error
        except FilmError as error:
            error.path = path
            raise
        except CxrClientError:
            raise
        except Exception as error:  # one film's fate, whatever nobody thought of
            raise internal_error(error, path) from error

    async def predict_many(
        self, sources: Iterable[Source | FilmError], *, maps: bool = False
    ) -> AsyncIterator[Prediction | FilmError]:
        """Predict films in order; a film without prediction gives its error in its place.

        Args:
            sources: as in `predict`; read as needed, so it may be endless. A FilmError among them
                comes out where it went in. An open file has to stay open, and an array as it is,
                until its result is there.
            maps: as in `predict`.
        """
        waiting: deque[asyncio.Task[Prediction | FilmError]] = deque()
        try:
            for source in sources:
                waiting.append(asyncio.create_task(self._outcome(source, maps)))
                if len(waiting) >= 2 * self.jobs:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _outcome(self, source: Source | FilmError, maps: bool) -> Prediction | FilmError:
        if isinstance(source, FilmError):
            return source
        try:
            return await self.predict(source, maps=maps)
        except FilmError as error:
            return error

    async def _predict(self, source: Source, maps: bool, slot: Slot) -> Prediction:
        film, request = await asyncio.to_thread(self._prepared, source, TENSORS + _MAPS * maps)
        try:
            return await self._answered(film, request, maps, slot)
        except FilmError as error:
            error.film = film
            raise

    async def _answered(self, film: Film, request: bytes, maps: bool, slot: Slot) -> Prediction:
        for _ in range(_TRIES):
            info, answer = await self._sent(request, slot)
            self._model = answer.ensemble
            if answer.ensemble != info:
                continue  # which of the two models answered, nobody knows
            return await asyncio.to_thread(
                prediction_from_answer,
                info,
                answer.message,
                film=film,
                latency_ms=answer.latency_ms,
                maps=maps,
                gate=self.gate,
            )
        raise FilmError(
            "MODEL_CHANGED",
            "The server changed its model while it had the film. Send it again.",
            status="failed",
            retriable=True,
        )

    def _prepared(self, source: Source, outputs: tuple[str, ...]) -> tuple[Film, bytes]:
        """The film without its payload, which is in the request: one copy of it is enough."""
        film, payload = read_parts(source, keep_file=self.keep_files)
        return film, self._transport.request(payload, outputs)

    async def _sent(self, request: bytes, slot: Slot) -> tuple[EnsembleInfo, Answer]:
        """The film's answer, and what the server said of itself before it got the film."""
        call: asyncio.Task[Answer] | None = None
        async for attempt in self._patience.tries():
            with attempt:
                if call is None or _has_failed(call):
                    info = await self._known_model()
                    slot.call = call = self._transport.send(request)
                # Otherwise its time ran out, but its call goes on. It is waited for once more:
                # sending the film again would load a slow server even more (docs/adr/0007).
                answer = await self._transport.answer(call)
        self._patience.answered()
        return info, answer

    async def _known_model(self) -> EnsembleInfo:
        if self._model is None:
            try:
                self._model = await self._transport.ensemble()
            except ServerError as error:
                raise film_error(error) from error
        return self._model

    def _busy(self, path: str | None) -> FilmError:
        return FilmError(
            "SERVER_BUSY",
            f"This film was not sent: none of the {self.jobs} films before it ended within "
            f"{self._slots.patience_s:g} s. Send it again later.",
            status="failed",
            path=path,
            retriable=True,
        )


def _has_failed(call: asyncio.Task[Answer]) -> bool:
    return call.done() and (call.cancelled() or call.exception() is not None)
