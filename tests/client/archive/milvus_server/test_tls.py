"""A Milvus server reached over TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus.tls import Tls
from cxrclient.errors import (
    ArchiveUnavailable,
    UsageError,
)
from milvus_archives import MODEL, QUERY, TOKEN


class TlsEnd:
    """Takes TLS off in front of the server, as an ingress does."""

    def __init__(self, target: str, context: ssl.SSLContext) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"https://localhost:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            near = self._context.wrap_socket(plain, server_side=True)
            far = socket.create_connection(self._target)
            near.settimeout(0.02)
            far.settimeout(0.02)
            # One thread for both ways: an SSL socket must not be read and written at once.
            while True:
                for source, sink in ((near, far), (far, near)):
                    with suppress(TimeoutError, ssl.SSLWantReadError):
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        sink.settimeout(600)
                        sink.sendall(data)
                        sink.settimeout(0.02)


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
def tls_end(request, milvus_server, certificates) -> Iterator[tuple[str, Tls]]:
    """The address, and what it takes to get in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.set_alpn_protocols(["h2"])
    tls = Tls(certificates / "ca.pem")
    if request.param:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates / "ca.pem")
        tls = Tls(tls.ca, certificates / "client.pem", certificates / "client.key")
    end = TlsEnd(milvus_server.uri.removeprefix("http://"), context)
    yield end.uri, tls
    end.close()


def test_an_archive_is_reached_over_tls_and_not_with_another_authority(
    tls_end, certificates, both
) -> None:
    uri, tls = tls_end
    with SimilarityIndex(uri, model_digest=MODEL, token=TOKEN, tls=tls) as index:
        assert index.search(QUERY) == both[1].search(QUERY)
    for other in (Tls(certificates / "unknown.pem"), None):
        with pytest.raises(ArchiveUnavailable, match="certificates"):
            SimilarityIndex(uri, model_digest=MODEL, token=TOKEN, tls=other, timeout_s=3)


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        (Tls("nowhere.pem"), "nowhere.pem is no file"),
        (Tls(None, __file__, __file__), "all three"),
        (Tls(__file__, __file__), "all three"),
    ],
)
def test_certificates_that_cannot_do_are_named(tls: Tls, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SimilarityIndex("https://localhost:9", model_digest=MODEL, tls=tls)
