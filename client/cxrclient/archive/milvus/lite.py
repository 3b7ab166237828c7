"""Opening an archive in one local file: Milvus Lite, with the doors that it leaves open shut.

Milvus Lite 2.5 answers every failure to open with the same sentence, and some of them with damage.
So everything that can be known before it starts is checked here first (docs/adr/0003).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from cxrclient.errors import ArchiveUnavailable
from cxrclient.files import private

# Milvus Lite's own rule for file names (milvus_lite/server.py).
_NAME = re.compile(r"[A-Za-z0-9._-]{1,36}")
# A Unix socket's path has at most 107 characters; Milvus Lite puts `/tmp????????_NAME.sock` behind
# the folder for temporary files, and waits in vain where that is longer.
_SOCKET_PATH_MAX = 107
_LAST_WRITE_S = 20.0
_QUIET = 'export HOME="$0"; [ "$LOG_LEVEL" ] || exec 2>/dev/null; exec "$@" >/dev/null'
"""How Milvus Lite is run. LOG_LEVEL is its own; who sets it wants to see what it says on stderr."""

# One process holds one lock a file, however many archives it has open on it.
_held: dict[Path, IO[bytes]] = {}
_users: Counter[Path] = Counter()
_guard = threading.Lock()


def acquire(uri: str, *, create: bool) -> Path:
    """Check that `uri` can be opened here, and lock it; returns its absolute path.

    Args:
        uri: path of the archive's file.
        create: whether it may be missing.

    Raises:
        ArchiveUnavailable: names the cause and the mend; nothing was touched.
    """
    _check_platform(uri)
    path = Path(uri).absolute().resolve()  # as milvus_lite does, so that both mean one file
    with _guard:
        if not _users[path]:
            _check_place(path, uri, create=create)
            if not _served_here(path):
                file = _locked(path, uri)
                try:
                    _wait_for_last_write(path)
                    _check_content(path, uri)
                except ArchiveUnavailable:
                    file.close()
                    raise
                _held[path] = file
        _users[path] += 1
    return path


def keep_apart() -> None:
    """Give each Milvus Lite that is started from here on a home of its own, and no voice.

    Harmless twice. Two traps: with its first collection it removes ~/.cache/milvus, where another's
    may be, and makes it anew; it fails where two do so at once ("create dir … failed"). And to a
    filter that it does not understand it says so on stdout and stderr too, where our answers stand.
    """
    from milvus_lite.server import Server

    args = Server.args.fget
    if args.__module__ != __name__:
        Server.args = property(
            lambda server: ["/bin/sh", "-c", _QUIET, _home(server), *map(str, args(server))]
        )


def _home(server: Any) -> str:
    return f"{server._uds_path}.home"


def serving(path: Path) -> subprocess.Popen[bytes] | None:
    """The Milvus Lite that serves `path` for this process; None where none was started."""
    if not _served_here(path):
        return None
    from milvus_lite.server_manager import server_manager_instance

    process: subprocess.Popen[bytes] | None = server_manager_instance._servers[str(path)]._p
    return process


def fate(process: subprocess.Popen[bytes]) -> str | None:
    """How a Milvus Lite ended, in words; None while it runs."""
    code = process.poll()
    if code is None:
        return None
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"


def forget(path: Path) -> None:
    """Let a Milvus Lite that has ended be started anew by whoever connects next.

    A trap: Milvus Lite's own list of servers never notices that one has ended, and gives its socket
    to everybody until this process ends.
    """
    with _guard:
        process = serving(path)
        if process is not None and fate(process) is not None:
            _stop(path)


@contextmanager
def paused(path: Path) -> Iterator[None]:
    """Keep Milvus Lite off a file that this process has acquired; the next call starts it again."""
    with _guard:
        if path not in _held:
            raise ArchiveUnavailable(
                f"{path} is open in this process without cxrclient. Close it there first."
            )
        _stop(path)
        yield


def release(path: Path) -> None:
    """Give up one use of `path`; the last one stops Milvus Lite, so that others may open it."""
    with _guard:
        _users[path] -= 1
        if _users[path] > 0:
            return
        del _users[path]
        file = _held.pop(path, None)
        if file is None:
            return  # whoever started Milvus Lite before us stops it
        try:
            _stop(path)
        finally:
            file.close()


def _stop(path: Path) -> None:
    if _served_here(path):
        from milvus_lite.server_manager import server_manager_instance

        server = server_manager_instance._servers[str(path)]
        server_manager_instance.release_server(str(path))
        shutil.rmtree(_home(server), ignore_errors=True)


def _check_platform(uri: str) -> None:
    if sys.platform == "win32":
        raise ArchiveUnavailable(
            f"An archive in a file ({uri}) needs Milvus Lite, which does not run on Windows. "
            "Give the address of a Milvus server instead, such as http://localhost:19530."
        )
    for module in ("milvus_lite", "pkg_resources"):  # Lite imports the latter without asking for it
        if importlib.util.find_spec(module) is None:
            raise ArchiveUnavailable(
                f"An archive in a file ({uri}) needs Milvus Lite, and {module} is not installed "
                'here. Run: pip install "milvus-lite<3" "setuptools<81"'
            )


def _check_place(path: Path, uri: str, *, create: bool) -> None:
    if path.suffix != ".db" or not _NAME.fullmatch(path.name):
        raise ArchiveUnavailable(
            f"{uri} cannot be an archive: the file's name must end in .db and have at most 36 "
            "letters, digits, dots, dashes or underscores. (A server's address starts with http.)"
        )
    if path.is_dir():
        raise ArchiveUnavailable(f"{uri} is a folder. Give the path of a file, such as cxr.db.")
    if not path.parent.is_dir():
        raise ArchiveUnavailable(f"{uri}: there is no folder {path.parent}. Make it first.")
    if not create and not path.exists():
        raise ArchiveUnavailable(
            f"There is no archive at {uri}. Make one: cxrclient index FILES --uri {uri}"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK) or (
        path.exists() and not os.access(path, os.R_OK | os.W_OK)
    ):
        raise ArchiveUnavailable(
            f"{uri} is not writable, which Milvus Lite needs even to search (for the file and, for "
            "its lock, the folder). Copy the archive to a place of yours, or change its mode."
        )
    socket = Path(tempfile.gettempdir(), f"tmp{'?' * 8}_{path.name}.sock")
    if len(os.fsencode(socket)) > _SOCKET_PATH_MAX:
        raise ArchiveUnavailable(
            f"{uri} cannot be opened: the folder for temporary files ({tempfile.gettempdir()}) has "
            "too long a path for a socket. Set TMPDIR to a shorter one, such as /tmp."
        )


def _locked(path: Path, uri: str) -> IO[bytes]:
    """Lock the archive against every other process, before Milvus Lite tries to.

    A trap: a Milvus Lite that finds its lock file taken removes it on its way out, and the next
    process to come opens a database that is in use. So it must never find it taken. Ours is a
    `flock` on the database itself: no second file, nothing to remove, and no quarrel with SQLite
    and Milvus Lite, which use the other kind of lock.
    """
    import fcntl  # not on Windows

    in_use = (
        f"{uri} is in use by another process; Milvus Lite serves one at a time. Wait for it, or "
        "run a Milvus server and give its address."
    )
    # SQLite gives its files beside the database the same mode.
    file = open(path, "ab", opener=private)  # noqa: SIM115 - Path.open takes no opener
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lite = path.with_name(f".{path.name}.lock")
        if lite.exists():  # of a program that uses Milvus Lite without us, or left by a kill -9
            with lite.open("ab") as other:
                fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ArchiveUnavailable(in_use) from error
    except OSError as error:
        file.close()
        raise ArchiveUnavailable(f"{uri} cannot be locked ({error.strerror}).") from error
    return file


def _check_content(path: Path, uri: str) -> None:
    """Refuse what is not Milvus Lite's: it would write its tables into any SQLite file."""
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        # What a killed process had half written is taken back by the first who reads; nobody can
        # who only reads.
        mode = "rw" if path.with_name(path.name + "-journal").exists() else "ro"
        connection = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True)
        connection.text_factory = bytes  # Milvus Lite stores binary schemas in a text column
        try:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if b"collection_meta" in names:
                connection.execute("SELECT * FROM collection_meta").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ArchiveUnavailable(
            f"{uri} is not a database, or a damaged one ({error}). Move it away and index the "
            "films again, or bring it back from a backup."
        ) from error
    if names and b"collection_meta" not in names:
        raise ArchiveUnavailable(
            f"{uri} is a database of another program, left as it was. Give another path."
        )


def _wait_for_last_write(path: Path) -> None:
    """Wait while the Milvus Lite of a killed process still writes; then it ends by itself.

    A check or another Milvus Lite would find the database locked, and call it damaged.
    """
    writable = f"{path.as_uri()}?mode=rw"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(
            sqlite3.connect(writable, uri=True, timeout=_LAST_WRITE_S)
        ) as connection,
    ):
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _served_here(path: Path) -> bool:
    """Whether Milvus Lite serves `path` in this process."""
    module = sys.modules.get("milvus_lite.server_manager")
    return module is not None and str(path) in module.server_manager_instance._servers
