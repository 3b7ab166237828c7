"""A file appears whole or not at all, and two who write it do not spoil it for each other."""

from __future__ import annotations

import errno
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from cxrclient.files import replacing, take_place, write_new, write_whole


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "results"
    path.write_bytes(b"old")

    def fail_half_way():
        with replacing(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_keeps_its_mode_and_a_secret_one_is_its_owners_alone(tmp_path):
    there, secret = tmp_path / "there", tmp_path / "secret"
    there.touch()
    there.chmod(0o640)
    write_whole(there, b"x", secret=True)
    write_whole(secret, b"x", secret=True)
    assert (mode(there), mode(secret)) == (0o640, 0o600)


def test_who_is_overtaken_by_a_second_writer_fails_and_does_not_put_half_a_file_there(tmp_path):
    path = tmp_path / "page"

    def write_until_overtaken():
        with replacing(path) as first:
            first.write(b"first")
            second.enter_context(replacing(path)).write(b"second, whole")

    with ExitStack() as second:
        with pytest.raises(OSError, match="Another process") as refused:
            write_until_overtaken()
        assert (refused.value.errno, refused.value.filename) == (errno.EBUSY, str(path))
        assert not path.exists()
    assert path.read_bytes() == b"second, whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_an_empty_one(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "film").touch()
    (tmp_path / "old").mkdir()
    take_place(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["film"]
    assert not (tmp_path / "new").exists()


def test_of_many_who_write_a_new_file_one_wins_and_it_is_whole(tmp_path):
    path = tmp_path / "key"
    contents = [f"{n}" * 5000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_new(path, content), contents))
    assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [path]
    assert mode(path) == 0o600


def test_a_new_file_takes_no_other_ones_place(tmp_path):
    path = tmp_path / "key"
    path.write_text("the site's")
    write_new(path, "another")
    assert path.read_text() == "the site's"
    assert list(tmp_path.iterdir()) == [path]
