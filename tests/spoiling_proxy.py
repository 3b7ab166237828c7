"""An HTTP proxy before a real PACS that spoils some of what passes: no real one does so at will."""

from __future__ import annotations

import http.server
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Passing:
    """A request and its answer, which may be changed before it is sent.

    Attributes:
        path: with the query; changed before the PACS gets it.
        status: of the answer.
        body: of the answer; its length is told as it was, whatever is cut off.
    """

    path: str
    status: int = 200
    body: bytes = b""


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        target: the PACS.
        before: changes a request; True keeps it from the PACS, and what it holds is the answer.
        after: changes an answer.
        seen: paths that were asked for.
        headers: of the last request.
    """

    target: str
    port: int = 0
    scheme: str = "http"
    before: Callable[[Passing], bool | None] = lambda _passing: None
    after: Callable[[Passing], None] = lambda _passing: None
    seen: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/dicom-web"

    def films(self) -> list[str]:
        """The UIDs of films whose files were asked for, in order."""
        return [path.split("/")[-1] for path in self.seen if path.count("/") == 7]


@contextmanager
def spoiling_proxy(target: str, certificate: Path | None = None) -> Iterator[Proxy]:
    """Start a proxy to a PACS's `http://HOST:PORT`; over TLS where it has a certificate."""
    proxy = Proxy(target)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            passing = Passing(self.path)
            proxy.seen.append(self.path)
            proxy.headers = dict(self.headers)
            kind = "text/plain"
            if not proxy.before(passing):
                wanted = {"Accept": self.headers["Accept"]}
                request = urllib.request.Request(proxy.target + passing.path, headers=wanted)
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        passing.body, kind = answer.read(), answer.headers["Content-Type"]
                except urllib.error.HTTPError as error:
                    passing.status = error.code
            length = len(passing.body)
            proxy.after(passing)
            self.send_response(passing.status)
            self.send_header("Content-Type", kind)
            if len(passing.body) == length or not passing.body:
                self.send_header("Content-Length", str(len(passing.body)))
            self.end_headers()
            self.wfile.write(passing.body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        proxy.scheme = "https"
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
