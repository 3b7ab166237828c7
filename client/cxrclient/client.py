"""Films in, predictions out: in order, one film a request, a bounded number in flight."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from cxrclient._loop import close_at_exit, submit
from cxrclient._transport import Transport
from cxrclient.errors import FilmError, ServerError, UsageError
from cxrclient.film import Buffer, Film, read_film
from cxrclient.prediction import EnsembleInfo, Prediction, prediction_from_tensors

__all__ = ["AsyncCxrClient", "CxrClient"]

Source = str | Path | Buffer

DEFAULT_ADDRESS = "localhost:8001"
DEFAULT_JOBS = 8
DEFAULT_TIMEOUT_S = 120.0

_TENSORS = ("PROBABILITY", "MEMBERS", "VOTES", "EMBEDDING", "LUNGS", "GEOMETRY", "FLAGS")
_MAPS = ("HEATMAP", "CXR")


class AsyncCxrClient:
    """The client for code that has an event loop; `CxrClient` is the same without one.

    Args:
        address: `HOST:PORT` of the server's gRPC endpoint.
        jobs: films in flight at most; also the films in memory at most.
        timeout_s: the most that one film may take, queues included.

    Raises:
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        jobs: int = DEFAULT_JOBS,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        if jobs < 1:
            raise UsageError(f"jobs must be at least 1, not {jobs}.")
        if not timeout_s > 0:
            raise UsageError(f"timeout_s must be positive, not {timeout_s}.")
        self.jobs = jobs
        self._transport = Transport(address, timeout_s)
        self._slots = asyncio.Semaphore(jobs)
        self._model: EnsembleInfo | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> EnsembleInfo:
        """Read what the server says of its ensemble.

        Raises:
            ServerUnreachable: nothing answers at the address.
            ServerUnfit: it does not serve the ensemble as we know it.
        """
        try:
            self._model = await self._transport.ensemble()
        except ServerError:
            await self.close()
            raise
        return self._model

    async def close(self) -> None:
        """Wait a few seconds for films in flight, then close the connection; harmless twice."""
        await self._transport.close()

    @property
    def model(self) -> EnsembleInfo:
        """What the server said of its ensemble; known after `connect`."""
        if self._model is None:
            raise UsageError("The client is not connected; use it in a `with` block.")
        return self._model

    async def predict(self, source: Source, *, maps: bool = False) -> Prediction:
        """Predict one film.

        Args:
            source: a path, or the bytes of a DICOM, PNG or JPEG file.
            maps: whether to keep lungs, heatmap, the film as the networks saw it, and geometry.

        Raises:
            FilmError: the film has no prediction; `status`, `code` and the message say why.
        """
        async with self._slots:
            film = await asyncio.to_thread(read_film, source)
            try:
                return await self._predict(film, maps)
            except FilmError as error:
                error.path = film.path
                raise

    async def predict_many(
        self, sources: Iterable[Source | FilmError], *, maps: bool = False
    ) -> AsyncIterator[Prediction | FilmError]:
        """Predict films in order; a film without prediction gives its error in its place.

        Args:
            sources: paths or bytes; read as needed, so it may be endless. A FilmError among them
                comes out where it went in.
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

    async def _predict(self, film: Film, maps: bool) -> Prediction:
        info = await self._current_model()
        started = time.perf_counter()
        try:
            tensors = await self._transport.infer(film.payload, _TENSORS + _MAPS * maps)
        except FilmError as error:
            if error.code == "SERVER_UNREACHABLE":
                self._model = None  # what answers next may be another model
            raise
        latency_ms = (time.perf_counter() - started) * 1000.0
        return await asyncio.to_thread(
            prediction_from_tensors,
            info,
            tensors,
            path=film.path,
            film_id=film.film_id,
            latency_ms=latency_ms,
            maps=maps,
        )

    async def _current_model(self) -> EnsembleInfo:
        if self._model is None:
            try:
                self._model = await self._transport.ensemble()
            except ServerError as error:
                raise FilmError(
                    error.code, error.message, status="failed", retriable=error.retriable
                ) from error
        return self._model


class CxrClient:
    """Films in, predictions out.

        with CxrClient("localhost:8001") as cxr:
            print(cxr.predict("film.dcm").probability)

    A background thread runs the event loop; the client may be used from several threads.

    Args:
        address: `HOST:PORT` of the server's gRPC endpoint.
        jobs: films in flight at most; also the films in memory at most.
        timeout_s: the most that one film may take, queues included.

    Raises:
        ServerUnreachable: nothing answers at the address.
        ServerUnfit: it does not serve the ensemble as we know it.
        UsageError: an argument is out of range.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        jobs: int = DEFAULT_JOBS,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._async = AsyncCxrClient(address, jobs=jobs, timeout_s=timeout_s)
        close_at_exit(self._async)
        submit(self._async.connect()).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait a few seconds for films in flight, then close the connection; harmless twice."""
        submit(self._async.close()).result()

    @property
    def model(self) -> EnsembleInfo:
        """What the server says of its ensemble: labels, threshold, notice, digests."""
        return self._async.model

    def predict(self, source: Source, *, maps: bool = False) -> Prediction:
        """Predict one film.

        Args:
            source: a path, or the bytes of a DICOM, PNG or JPEG file.
            maps: whether to keep lungs, heatmap, the film as the networks saw it, and geometry.

        Raises:
            FilmError: the film has no prediction; `status`, `code` and the message say why.
        """
        future = submit(self._async.predict(source, maps=maps))
        try:
            return future.result()
        finally:
            future.cancel()

    def predict_many(
        self, sources: Iterable[Source | FilmError], *, maps: bool = False
    ) -> Iterator[Prediction | FilmError]:
        """Predict films in order; a film without prediction gives its error in its place.

        `sources` is read in the caller's thread and only as far as needed, so a walk over 100,000
        films starts at once and memory stays bounded.

        Args:
            sources: paths or bytes. A FilmError among them comes out where it went in.
            maps: as in `predict`.
        """
        waiting: deque[Future[Prediction | FilmError]] = deque()
        try:
            for source in sources:
                waiting.append(submit(self._async._outcome(source, maps)))
                if len(waiting) >= 2 * self._async.jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
