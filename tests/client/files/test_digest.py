"""One sha256, whatever it is of."""

from __future__ import annotations

import hashlib

import pytest

from cxrclient.files import sha256_of


@pytest.mark.parametrize("content", [b"", b"film", bytes(range(256)) * 5000])
def test_a_file_its_bytes_and_its_parts_have_one_sha256(content, tmp_path):
    path = tmp_path / "film"
    path.write_bytes(content)
    parts = (content[i : i + 1000] for i in range(0, len(content), 1000))
    expected = hashlib.sha256(content).hexdigest()
    assert {sha256_of(path), sha256_of(content), sha256_of(parts)} == {expected}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        sha256_of(tmp_path / "none")
