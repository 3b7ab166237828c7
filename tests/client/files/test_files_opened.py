"""Only regular files are opened: whatever else lies under a name, nobody waits for it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cxrclient.archive.identity import load_patient_key
from cxrclient.archive.metadata import read_metadata
from cxrclient.errors import FilmError, MetadataError, UsageError
from cxrclient.files.regular import (
    FileTooLarge,
    NoRegularFile,
    _without_waiting,
    open_regular,
    read_regular,
)
from cxrclient.films.film import read_film
from cxrclient.films.search.film_search import FilmSearch, is_own_picture
from cxrclient.pages.film_folder import FilmFolder

HANG_S = 600
"""It only catches a hang: nothing here takes a second."""

KINDS = ["pipe", "link to a pipe", "socket", "endless device", "link to a device", "folder"]


@contextlib.contextmanager
def no_file(kind, folder):
    """What is no regular file, under a film's name."""
    path = folder / "film.png"
    with contextlib.ExitStack() as open_until_the_end:
        if kind == "pipe":
            os.mkfifo(path, 0o600)
        elif kind == "link to a pipe":
            os.mkfifo(folder / ".pipe", 0o600)
            path.symlink_to(folder / ".pipe")
        elif kind == "socket":
            listener = open_until_the_end.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
        elif kind == "endless device":
            path = Path("/dev/zero")
        elif kind == "link to a device":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()
        yield path


def _read_metadata(path):
    with pytest.raises(MetadataError, match="cannot be read"):
        read_metadata(path)


def _read_key(path):
    with pytest.raises(UsageError, match="cannot be read"):
        load_patient_key({"CXR_PATIENT_KEY_FILE": str(path)})


def _read_film(path):
    with pytest.raises(FilmError) as error:
        read_film(path)
    assert (error.value.code, error.value.status) == ("FILE_UNREADABLE", "failed")


def _find(path):
    """In a folder with it and with a film of the wanted id, the film is found."""
    Image.new("L", (8, 8), 7).save(path.parent / "z.png")
    ((_, wanted),) = FilmFolder(path.parent).find([_digest(path.parent / "z.png")])
    assert wanted.path.endswith("z.png")


def _search(path):
    films = list(FilmSearch([str(path.with_name("*")), str(path.parent)]))
    assert all(isinstance(film, str | FilmError) for film in films)
    assert is_own_picture(path) is False


def _digest(path):
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


READERS = {
    "predict": _read_film,
    "--archive-films": _find,
    "FilmSearch": _search,
    "--metadata": _read_metadata,
    "CXR_PATIENT_KEY_FILE": _read_key,
}


FOLDERS = ("--archive-films", "FilmSearch")  # of films; nobody has them in /dev
CASES = [
    (reader, kind)
    for reader in READERS
    for kind in KINDS
    if not (reader in FOLDERS and kind == "endless device")
]


@pytest.mark.parametrize(("reader", "kind"), CASES)
def test_who_opens_what_is_no_file_says_so_and_waits_for_nobody(reader, kind, tmp_path):
    # In a process of its own: a hang cannot be ended within this one.
    with no_file(kind, tmp_path) as path:
        code = (
            "import resource, sys; from pathlib import Path\n"
            "resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # for endless devices\n"
            f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "import test_files_opened as here\n"
            f"here.READERS[{reader!r}](Path({str(path)!r}))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S
        )
    assert done.returncode == 0, done.stderr[-800:]


def test_a_pipe_put_in_a_files_place_after_the_first_look_is_not_waited_for(tmp_path, monkeypatch):
    path, pipe = tmp_path / "a.dcm", tmp_path / "pipe"
    path.write_bytes(b"x")
    os.mkfifo(pipe)
    look = Path.stat

    def look_and_swap(self, **options):
        about = look(self, **options)
        if self == path:
            pipe.rename(path)
        return about

    monkeypatch.setattr(Path, "stat", look_and_swap)
    with pytest.raises(NoRegularFile):
        open_regular(path)


def test_a_file_that_is_lent_to_another_program_is_waited_for(tmp_path):
    """As Samba lends files; the kernel takes them back for who waits, and only for him."""
    path = tmp_path / "a.dcm"
    path.write_bytes(b"film")
    lender = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, os, signal, sys\n"
            "signal.signal(signal.SIGIO, lambda *_: (fcntl.fcntl(f, fcntl.F_SETLEASE, "
            "fcntl.F_UNLCK), print('given back', flush=True)))\n"
            f"f = os.open({str(path)!r}, os.O_RDWR)\n"
            "fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n"
            "print('lent', flush=True)\n"
            "while True: signal.pause()\n",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if lender.stdout.readline() != "lent\n":
            pytest.skip(f"no leases on this file system: {lender.stderr.read()[-100:]}")
        assert read_regular(path, 10) == b"film"
    finally:
        lender.kill()
        lender.communicate()


def test_no_more_of_a_file_is_read_than_was_asked_for(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(FileTooLarge):
        read_regular(path, 4)


def test_a_file_without_a_size_is_read_to_its_end():
    """Those of /proc say that they have none."""
    text = read_regular("/proc/self/cmdline", 1 << 20)
    assert sys.executable.encode() in text or b"python" in text
    with pytest.raises(FileTooLarge):
        read_regular("/proc/self/cmdline", 3)


def test_links_to_files_are_files(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_regular(tmp_path / "b", 1) == b"x"


def test_what_is_opened_is_not_given_to_child_processes(tmp_path):
    (tmp_path / "a").touch()
    with open_regular(tmp_path / "a") as file:
        assert fcntl.fcntl(file, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    descriptor = _without_waiting(str(tmp_path / "a"), os.O_RDONLY)
    os.close(descriptor)


def test_what_is_missing_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        open_regular(tmp_path / "a")
    assert error.value.errno == errno.ENOENT
