"""A spool of its own for each test."""

from __future__ import annotations

import pytest

from cxrclient.node.spool.spool import Spool


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path / "spool", ["PACS@127.0.0.1:4242"], min_free_bytes=0) as opened:
        yield opened
