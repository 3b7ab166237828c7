"""Films in a spool, and workers that analyse them with the real server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrclient.node.options import NodeOptions
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.spool import Spool
from cxrclient.node.work.workers import Workers
from waiting import eventually

PEER = "PACS@127.0.0.1:4242"


class Node:
    """A spool with what is asked of it, and workers on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = Spool(folder, [PEER, "archive"])

    def takes(self, file: bytes) -> str:
        """Take a film; gives its UID."""
        arrival = arrival_of(file, "MODALITY")
        assert self.spool.take(arrival, file) == "stored"
        return arrival.uid

    def row(self, uid: str) -> dict[str, Any]:
        return dict(self.spool.rows.one("SELECT * FROM films WHERE uid = ?", uid))

    def ends(self, uid: str) -> dict[str, Any]:
        """The film's row, once it is no longer waiting."""
        return eventually(
            lambda: row if (row := self.row(uid))["state"] != "waiting" else None,
            lambda: self.row(uid),
        )

    def has_code(self, uid: str, code: str) -> dict[str, Any]:
        """The film's row, once it has a code."""
        return eventually(lambda: row if (row := self.row(uid))["code"] == code else None)

    def results(self, uid: str) -> set[str]:
        folder = self.spool.results_folder(uid)
        return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "spool")
    with node.spool:
        yield node


@pytest.fixture
def working(node: Node) -> Callable[..., Any]:
    """Workers on the node's spool, for a block: `with working(SERVER, workers=1) as workers:`."""

    @contextlib.contextmanager
    def work(server: str, *, limit_s: float | None = None, **options: Any) -> Iterator[Workers]:
        told = NodeOptions(
            node.folder, (PEER,), server, **{"workers": 1, "timeout_s": 60.0, **options}
        )
        workers = Workers(told, node.spool, lambda *_: 1.5, limit_s=limit_s)
        workers.start()
        try:
            yield workers
        finally:
            workers.stop(30)

    return work


@pytest.fixture(scope="session")
def films(film: Callable[..., bytes]) -> Callable[[int], list[bytes]]:
    """So many films with UIDs of their own."""

    def make(count: int) -> list[bytes]:
        return [film(SOPInstanceUID=f"1.2.826.0.1.{number}") for number in range(1, count + 1)]

    return make
