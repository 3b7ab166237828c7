"""A small disk for tests, which can be filled, and folders that become read-only."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def mount(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """14 MB that are a file system of their own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = mount("-t", "tmpfs", "-o", "size=14m", "tmpfs", folder)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte free; gives the file that has them all."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert shutil.disk_usage(disk).free == 0
    return ballast


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that is read-only for a while; what is open in it stays open for writing."""
    assert mount("--bind", folder, folder).returncode == 0
    try:
        assert mount("-o", "remount,bind,ro", folder).returncode == 0
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
