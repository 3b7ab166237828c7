"""A real PACS and nodes beside it, each ended for sure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from node_process import NodeProcess
from orthanc import Pacs, peer_of, running_pacs


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    """An empty Orthanc."""
    with running_pacs(tmp_path / "pacs") as pacs:
        yield pacs


@pytest.fixture
def node_of(tmp_path: Path, triton_server) -> Iterator[Callable[..., NodeProcess]]:
    """Makes nodes that a test starts: `node_of(pacs, name="a", server=…, peers=…, more=…)`."""
    with ExitStack() as ends:

        def make(pacs: Pacs, *, name: str = "node", **given) -> NodeProcess:
            given = {"server": triton_server.grpc_address, "peers": [peer_of(pacs)], **given}
            node = NodeProcess(tmp_path / name, **given)
            ends.callback(node.end)
            return node

        yield make
