"""One hash, whatever it is of."""

from __future__ import annotations

import hashlib
import hmac
import io
import os

import pytest

from cxrclient.files import NoRegularFile, hmac_sha256_of, sha256_of, short_hash


@pytest.mark.parametrize("content", [b"", b"film", bytes(range(256)) * 5000])
def test_a_file_its_bytes_and_its_parts_have_one_sha256(content, tmp_path):
    path = tmp_path / "film"
    path.write_bytes(content)
    parts = (content[i : i + 1000] for i in range(0, len(content), 1000))
    found = {sha256_of(path), sha256_of(content), sha256_of(memoryview(content)), sha256_of(parts)}
    found |= {sha256_of(io.BytesIO(content)), sha256_of(path.open("rb"))}
    assert found == {hashlib.sha256(content).hexdigest()}


def test_a_text_is_hashed_as_utf_8_and_never_taken_for_a_path(tmp_path):
    (tmp_path / "film").write_bytes(b"content")
    name = str(tmp_path / "film")
    assert sha256_of(name) == hashlib.sha256(name.encode()).hexdigest()
    assert sha256_of("Rücken") == hashlib.sha256("Rücken".encode()).hexdigest()


def test_an_open_file_is_hashed_from_where_it_stands(tmp_path):
    (tmp_path / "film").write_bytes(b"head and rest")
    with (tmp_path / "film").open("rb") as file:
        file.seek(5)
        assert sha256_of(file) == hashlib.sha256(b"and rest").hexdigest()


def test_what_is_no_file_is_not_hashed(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # whoever opened it would wait for ever
    with pytest.raises(NoRegularFile):
        sha256_of(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="none"):
        sha256_of(tmp_path / "none")


def test_keyed_hashes_differ_by_their_key():
    assert hmac_sha256_of(b"4711", b"key") == hmac.new(b"key", b"4711", "sha256").hexdigest()
    assert len({short_hash(b"4711", 16, key) for key in (b"", b"a", b"b")}) == 3
    assert len(short_hash(b"", 12)) == 12
