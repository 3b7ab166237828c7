"""A spool with films that were finished on given days."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import finished_films
from cxrclient.node.spool.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool", ("PACS", "archive"), min_free_bytes=0) as opened:
        yield opened


@pytest.fixture
def finish(spool: Spool) -> Callable[..., None]:
    """Lets a film be finished: `finish("1.2", probability, days_ago=1, distance=0.1, …)`."""
    return partial(finished_films.finish, spool)


@pytest.fixture
def reference(tmp_path: Path) -> Callable[..., Path]:
    """Writes results of training films: `reference(embeddings)`."""
    return partial(finished_films.write_reference, tmp_path / "train.jsonl")
