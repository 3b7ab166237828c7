"""What `cxrclient node run` is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_MIN_FREE_BYTES = 500_000_000
DEFAULT_QUEUE = 10_000


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of one side of a TLS connection.

    Attributes:
        ca: authority of the other side's certificate; a listener that has one asks for one (mutual
            TLS).
        cert: our certificate.
        key: its private key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __bool__(self) -> bool:
        """Tell whether any is given."""
        return any((self.ca, self.cert, self.key))


@dataclass(frozen=True)
class NodeOptions:
    """All that a node is told.

    Attributes:
        spool: folder of films, results and rows.
        peers: as typed: `AET@HOST:PORT`, `https://HOST/dicom-web`.
        server: Triton's `HOST:PORT`.
        secured: its TLS and token, as `client_settings` takes them.
        aet: our AE title: as called, and as calling.
        host: address to listen on.
        port: for DICOM.
        http_port: for STOW-RS, health, metrics and results.
        allow: AE titles of callers that are let in; none: anybody, on loopback only.
        tls: of the listeners.
        peer_tls: of connections to peers.
        results_token_file: whose bearer token may read `/results` and, beyond loopback, store.
        archive_uri: where embeddings go, too.
        reference: results of `predict --embeddings` over the training films, for drift.
        workers: processes that analyse. Two: one makes results while Triton has the other's film.
            Each takes 0.25 s of a core for a film of 1955 by 1841 pixels, and 240 MB.
        gsps: whether the lungs' outline is made as a presentation state, too.
        min_free_bytes: below it no film is taken, and below half of it none is analysed.
        queue: films that wait at most.
        keep_days: how long files stay after the last delivery or refusal.
        timeout_s: as of CxrClient.
    """

    spool: Path
    peers: tuple[str, ...]
    server: str
    aet: str = "CXR"
    host: str = "127.0.0.1"
    port: int = 11112
    http_port: int = 8042
    allow: tuple[str, ...] = ()
    tls: TlsFiles = field(default_factory=TlsFiles)
    peer_tls: TlsFiles = field(default_factory=TlsFiles)
    results_token_file: Path | None = None
    archive_uri: str | None = None
    reference: Path | None = None
    workers: int = 2
    gsps: bool = False
    min_free_bytes: int = DEFAULT_MIN_FREE_BYTES
    queue: int = DEFAULT_QUEUE
    keep_days: float = 7.0
    timeout_s: float = 120.0
    secured: Mapping[str, str] = field(default_factory=dict)
