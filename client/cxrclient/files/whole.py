"""Files that appear whole or not at all, and files for their owner's eyes.

What holds pixels of films or what is known of patients is private: mode 0600 in folders of 0700,
whatever the umask. Only what is new: a file or folder that is there keeps its mode, because who
changed it had a reason.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

PART = ".part"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def private(path: str, flags: int) -> int:
    """As `opener` of `open`: a new file has mode 0600, whatever the umask."""
    return os.open(path, flags, 0o600)


def new_private(path: Path) -> None:
    """Make an empty file that its owner alone can read, in the place of any that is there."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def private_folder(path: Path) -> None:
    """Make a folder that its owner alone can enter, where there is none; parents as usual."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def beside(path: Path) -> Path:
    """Where `write_beside` writes; Triton does not look at it."""
    return path.with_name(path.name + PART)


@contextmanager
def replacing(path: Path, *, secret: bool = False, sync: bool = True) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of `path` at the block's end.

    Args:
        path: of the file; keeps its mode where it is there.
        secret: a new one is for its owner alone.
        sync: have it on the disk by then; False where a power failure may cost it.

    Raises:
        OSError: it cannot be written whole, and names `path`; what was there stays.
    """
    part = path.with_name(f".{path.name}{PART}")  # hidden: who walks the folder passes it over
    ours = True
    try:
        new_private(part)
        if path.is_file():
            part.chmod(stat.S_IMODE(path.stat().st_mode))
        elif not secret:
            part.chmod(0o666 & ~_umask())
        with part.open("wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
            ours = os.path.samestat(part.stat(), os.fstat(file.fileno()))
        if not ours:
            raise OSError(errno.EBUSY, "Another process writes it, too")
        _rename(part, path, sync=sync)
    except BaseException as error:
        if ours:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        # Writing says no name, and nobody knows the one beside it.
        if isinstance(error, OSError) and error.filename in (None, str(part)):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def take_place(part: Path, path: Path) -> None:
    """Give a file or folder, which is whole, the name of another, in whose place it is then.

    A file's content and the name are on the disk afterwards.

    Args:
        part: of the same file system; a folder's content is on the disk.
        path: what is there is gone.

    Raises:
        OSError: it cannot; what was there stays.
    """
    if part.is_file():
        with part.open("r+b") as file:
            os.fsync(file.fileno())
    _rename(part, path, sync=True)


def _rename(part: Path, path: Path, *, sync: bool) -> None:
    part.replace(path)
    if sync:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have a folder's names on the disk, where the system has folders that can be synced."""
    with contextlib.suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_new(path: Path, content: bytes | str) -> None:
    """Write a file for its owner alone, but leave one that is there: of two writers, one wins.

    Raises:
        OSError: it cannot be written whole; nothing is left of it.
    """
    part = path.with_name(f".{path.name}.{os.urandom(8).hex()}{PART}")
    try:
        write_whole(part, content, secret=True)
        with contextlib.suppress(FileExistsError):
            os.link(part, path)  # a rename would take the place of what is there
    finally:
        part.unlink(missing_ok=True)


def write_whole(
    path: Path, content: bytes | memoryview | str, *, secret: bool = False, sync: bool = True
) -> None:
    """Replace a file by new content at once.

    Args:
        path: of the file.
        content: text is written in UTF-8.
        secret: as in `replacing`.
        sync: likewise.

    Raises:
        OSError: it cannot be written whole; the old file stays.
    """
    with replacing(path, secret=secret, sync=sync) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_beside(path: Path, content: bytes) -> Path:
    """Write a file's next content beside it, onto the disk itself, and return where.

    Raises:
        OSError: it cannot be written whole; nothing is left of it.
    """
    part = beside(path)
    write_whole(part, content)
    return part


def cannot_write(what: Any, error: OSError, act: str = "write") -> str:
    """One sentence: what the operating system refused, and what to do.

    Args:
        what: path or name; None where the error says none.
        error: whose reason is told.
        act: what was tried.
    """
    reason = error.strerror or type(error).__name__
    if error.errno in _NO_ROOM:
        reason += ". Make room or choose another place; what was written whole stays"
    return f"Cannot {act} {'a file' if what is None else os.fsdecode(what)}: {reason}."


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
