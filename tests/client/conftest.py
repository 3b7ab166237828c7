"""Films for the client's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn_film, write_dicom):
    """Six drawn films, different sizes."""
    folder = tmp_path_factory.mktemp("films")
    return [
        write_dicom(folder / f"{n}.dcm", drawn_film(n, rows=200 + 10 * n, columns=180))
        for n in range(6)
    ]


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory):
    """A real Milvus server that asks for a token, on free ports. Started once, ended for sure."""
    sys.path.append(str(BENCHMARKS))  # behind everything else: their names are common words
    from milvus_server import MilvusServer, missing

    if reason := missing():
        pytest.skip(reason)
    programs = BENCHMARKS.parent / "build" / "benchmarks" / "milvus" / "bin"  # unpacked once
    server = MilvusServer(tmp_path_factory.mktemp("milvus"), programs, authorization_enabled=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()
