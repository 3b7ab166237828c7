"""Films in, predictions out: the client for code without an event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Self

from cxrclient.errors import FilmError
from cxrclient.films import Source
from cxrclient.settings import DEFAULT_ADDRESS, DEFAULT_JOBS, DEFAULT_TIMEOUT_S
from cxrclient.wire.address import Endpoint
from cxrclient.wire.async_client import AsyncCxrClient, Traffic
from cxrclient.wire.loop import close_at_exit, submit
from cxrclient.wire.prediction import EnsembleInfo, Prediction

__all__ = ["AsyncCxrClient", "CxrClient", "Traffic"]


class CxrClient:
    """Films in, predictions out.

        with CxrClient("localhost:8001") as cxr:
            print(cxr.predict("film.dcm").probability)

    A background thread runs the event loop; the client may be used from several threads.

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
        ServerUnreachable: nothing answers at the address.
        TlsFailed: its certificate is not trusted, or one side does not speak TLS.
        AccessDenied: it refuses our token or certificate.
        ServerUnfit: it does not serve the ensemble as we know it.
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
        self._async = AsyncCxrClient(
            address,
            jobs=jobs,
            timeout_s=timeout_s,
            retry_for_s=retry_for_s,
            gate=gate,
            keep_files=keep_files,
        )
        close_at_exit(self._async)
        submit(self._async.connect).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection once the films in flight have ended; harmless twice.

        They get two minutes, or `timeout_s` where that is longer: cancelled requests can crash the
        server (docs/adr/0007). A KeyboardInterrupt meanwhile (the second Ctrl-C) cancels them.
        """
        closing = submit(self._async.close)
        try:
            closing.result()
        except KeyboardInterrupt:
            submit(self._async.close, drain=False).result()
            raise

    @property
    def model(self) -> EnsembleInfo:
        """What the server said of its ensemble, at first or with a later film."""
        return self._async.model

    @property
    def traffic(self) -> Traffic:
        """What was sent so far."""
        return self._async.traffic

    def server_version(self) -> str:
        """Triton's version.

        Raises:
            ServerUnreachable: nothing answers.
        """
        return submit(self._async.server_version).result()

    def predict(self, source: Source, *, maps: bool = False) -> Prediction:
        """Predict one film.

        Args:
            source: a path, the bytes of a DICOM, PNG or JPEG file, such a file that is open, a
                numpy array, an image of Pillow, a `pydicom.Dataset` (`read_film` tells what becomes
                of each), or a `Film` that was read.
            maps: whether to keep lungs, heatmap, the film as the networks saw it, and geometry.

        Raises:
            FilmError: the film has no prediction; `status`, `code` and the message say why.
        """
        future = submit(self._async.predict, source, maps=maps)
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
            sources: as in `predict`. A FilmError among them comes out where it went in. An open
                file has to stay open, and an array as it is, until its result is there.
            maps: as in `predict`.
        """
        waiting: deque[Future[Prediction | FilmError]] = deque()
        try:
            for source in sources:
                waiting.append(submit(self._async._outcome, source, maps))
                if len(waiting) >= 2 * self._async.jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
