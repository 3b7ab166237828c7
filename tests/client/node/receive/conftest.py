"""A spool, a listener on it, and senders: pynetdicom's, which sends a file as it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import _config

from cxrclient.node import NodeOptions
from cxrclient.node.receive.listener import DicomListener
from cxrclient.node.spool.spool import Spool
from dicom_senders import Sender


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool", ["PACS@127.0.0.1:4242"], min_free_bytes=0) as opened:
        yield opened


@pytest.fixture
def listen(spool: Spool) -> Iterator[Callable[..., DicomListener]]:
    """Starts a listener on a free port, with what else it is told."""
    started = []

    def start(of: Spool = spool, **told: Any) -> DicomListener:
        told = {"port": 0, **told}
        listener = DicomListener(NodeOptions(of.folder, (), "localhost:1", **told), of)
        listener.start()
        started.append(listener)
        return listener

    yield start
    for listener in started:
        listener.stop(10)


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Sender]:
    """Makes a sender for a listener: `sender(listener, calling="OTHER")`."""
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)

    def make(listener: DicomListener, **more: Any) -> Sender:
        return Sender(listener.port, **more)

    return make


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes a film to send; each has a name of its own."""
    count = 0

    def write(file: bytes) -> Path:
        nonlocal count
        count += 1
        path = tmp_path / f"{count}.dcm"
        path.write_bytes(file)
        return path

    return write
