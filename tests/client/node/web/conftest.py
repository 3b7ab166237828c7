"""A node's HTTP side that runs, on a spool of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from cxrclient.node.options import NodeOptions
from cxrclient.node.spool.spool import Spool
from cxrclient.node.watch.drift import Drift
from cxrclient.node.web.listener import WebListener

SORT = 'multipart/related; type="application/dicom"; boundary="a boundary"'
TARGETS = ("PACS@127.0.0.1:4242", "https://pacs.invalid/dicom-web")


@dataclass
class Web:
    """A listener that runs, and its spool."""

    spool: Spool
    listener: WebListener
    url: str
    parts: dict[str, tuple[bool, str]]
    SORT: ClassVar[str] = SORT

    def get(self, path: str, **more: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=60, **more)

    def post(
        self,
        body: bytes | Iterable[bytes],
        sort: str = SORT,
        study: str = "",
        token: str = "",
        **more: Any,
    ) -> requests.Response:
        """Send a body to be stored."""
        headers = {"Content-Type": sort}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self.url}/dicom-web/studies{study and '/' + study}"
        return requests.post(url, body, headers=headers, timeout=60, **more)

    def store(self, *films: bytes, **more: Any) -> requests.Response:
        """Send films as STOW-RS does, in one request."""
        return self.post(self.body(*films), **more)

    def body(self, *films: bytes) -> bytes:
        """The body of a request that stores films."""
        head = b"--a boundary\r\nContent-Type: application/dicom\r\n\r\n"
        return b"".join(head + film + b"\r\n" for film in films) + b"--a boundary--\r\n"

    def head(self, size: int) -> bytes:
        """What comes before a body of some size."""
        lines = ("POST /dicom-web/studies HTTP/1.1", "Host: here", f"Content-Type: {self.SORT}",
                 f"Content-Length: {size}", "", "")  # fmt: skip
        return "\r\n".join(lines).encode()

    def kept(self) -> list[Path]:
        """All files of the spool that are no rows."""
        return [
            path
            for path in self.spool.folder.rglob("*")
            if path.is_file() and not path.name.startswith("node.sqlite")
            and path.name != ".room"
        ]  # fmt: skip


@contextmanager
def running(folder: Path, scheme: str = "http", **more: Any) -> Iterator[Web]:
    """Start one; `more` are options of the node."""
    options = NodeOptions(folder / "spool", TARGETS, "127.0.0.1:1", **{"http_port": 0, **more})
    parts = {"spool": (True, "Films are taken."), "triton": (False, "Triton is away.")}
    with Spool(
        options.spool, TARGETS, min_free_bytes=options.min_free_bytes, queue=options.queue
    ) as spool:
        drift = Drift(spool, options.reference)
        listener = WebListener(options, spool, lambda: parts, drift)
        listener.start()
        try:
            yield Web(spool, listener, f"{scheme}://127.0.0.1:{listener.port}", parts)
        finally:
            listener.stop(5)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """Starts a node's HTTP side: `start(scheme, **options)`; ends it with the test."""
    with ExitStack() as started:
        yield lambda *values, **more: started.enter_context(
            running(tmp_path, *values, **{"min_free_bytes": 0, **more})
        )


@pytest.fixture
def web(start: Callable[..., Web]) -> Web:
    """One with the ordinary options."""
    return start()
