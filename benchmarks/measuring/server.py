"""The server that a benchmark measures: one started for it, or the one that is named."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from cxrclient import CxrClient, FilmError, Prediction
from cxrclient.serving import EmbeddedServer
from measuring.processes import children_of_this_process


class Server:
    """A running Triton server on the CPU: where it answers, its process, how long it took to start.

    Args:
        repository: what it serves.
        precision: `f32`, `bf16` or `int8`.
    """

    def __init__(self, repository: Path, precision: Any = "f32") -> None:
        self.precision: str = precision
        self._context = contextlib.ExitStack()
        before, begin = children_of_this_process(), time.perf_counter()
        served = EmbeddedServer(repository, device="cpu", precision=precision)
        server = self._context.enter_context(served)
        self.ready_s = time.perf_counter() - begin
        self.address: str = server.grpc_address
        self.http_address: str = server.http_address
        (self.pid,) = children_of_this_process() - before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        self._context.close()


@contextlib.contextmanager
def server_at(address: str | None, repository: Path) -> Iterator[str]:
    """Give a gRPC address: `address` itself, or that of a server started on `repository`."""
    if address is not None:
        yield address
        return
    with Server(repository) as server:
        yield server.address


def predict_all(client: CxrClient, films: Iterable[bytes | Path]) -> list[Prediction]:
    """Predict films, as many at once as the client has jobs.

    Raises:
        FilmError: a film has no prediction.
    """
    predictions = []
    for result in client.predict_many(films):
        if isinstance(result, FilmError):
            raise result
        predictions.append(result)
    return predictions
