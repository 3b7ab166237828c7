"""The server that a benchmark measures: the one named, or one started for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cxrclient.serving import EmbeddedServer


@contextmanager
def server_at(address: str | None, repository: Path) -> Iterator[str]:
    """Give a gRPC address: `address` itself, or that of a server on `repository`, on the CPU."""
    if address is not None:
        yield address
        return
    with EmbeddedServer(repository, device="cpu") as server:
        server.wait_ready()
        yield server.grpc_address
