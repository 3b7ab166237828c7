"""A Milvus Lite that ends, by a filter or by the kernel, is there again for the next call."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus import lite
from cxrclient.errors import ArchiveInput, ArchiveUnavailable

QUERY = np.zeros(128, np.float32)


@pytest.fixture
def archive(tmp_path):
    with SimilarityIndex(tmp_path / "cxr.db", model_digest="a" * 64) as index:
        rows = [{"label": "ab"[n % 2], "age": n} for n in range(6)]
        index.add([f"1.{n}" for n in range(6)], np.eye(6, 128, dtype=np.float32), rows)
        yield index


def process_of(tmp_path):
    process = lite.serving((tmp_path / "cxr.db").resolve())
    assert process is not None
    return process


def end(process, by=signal.SIGKILL):
    os.kill(process.pid, by)
    process.wait()


def test_the_next_call_finds_what_was_stored(archive, tmp_path):
    before = process_of(tmp_path)
    end(before)
    assert len(archive.search(QUERY, 10)) == 6
    assert process_of(tmp_path) is not before
    assert len(archive) == 6


def test_it_can_be_written_to_again(archive, tmp_path):
    end(process_of(tmp_path), signal.SIGSEGV)
    archive.add(["2.0"], np.ones((1, 128), np.float32), [{"label": "a"}])
    assert len(archive) == 7


def test_every_archive_that_is_open_on_the_file_is_back(archive, tmp_path):
    with SimilarityIndex(tmp_path / "cxr.db", model_digest="a" * 64) as other:
        end(process_of(tmp_path))
        assert [len(archive), len(other), len(archive)] == [6, 6, 6]


def test_the_call_that_ends_it_says_so_and_what_holds(archive, tmp_path):
    """What the grammar does not know may still end it: here, a filter that goes around it."""
    with pytest.raises(ArchiveUnavailable, match=r"ended \(signal SIGSEGV\).*starts it again"):
        archive._store.ids(archive.collection, "array_length > 1")
    assert len(archive.search(QUERY, 10, where="age > 2")) == 3


@pytest.mark.parametrize("where", ["age > array_length", "3 in [3]", "probability > 1 / 0"])
def test_a_filter_that_would_end_it_is_refused_before(archive, tmp_path, where):
    with pytest.raises(ArchiveInput):
        archive.search(QUERY, 10, where=where)
    assert process_of(tmp_path).poll() is None
