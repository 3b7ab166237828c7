"""A spool for tests, films that it took, and what became of them."""

from __future__ import annotations

from typing import Any

import pytest

from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.records import Outcome, ResultObject
from cxrclient.node.spool.spool import Spool

PEER = "PACS@127.0.0.1:4242"
GOOD = Outcome(
    "ok",
    record={"probability": 0.7, "embedding": [0.5]},
    objects=(ResultObject("sr", "1.2.3", "1.2", "1.1", "sr.dcm"),),
    positive=True,
)


@pytest.fixture
def spool(tmp_path) -> Any:
    with Spool(tmp_path / "spool", [PEER, "archive"]) as opened:
        yield opened


def took(spool: Spool, file: bytes) -> str:
    return spool.take(arrival_of(file, "MODALITY"), file)


def again(spool: Spool, *lost: str) -> Spool:
    """The spool as the next process finds it, with some of its files lost."""
    spool.close()
    for pattern in lost:
        for path in spool.folder.glob(pattern):
            path.unlink()
    return Spool(spool.folder, spool.targets)
