"""What lies around one running Triton server, and is gone after it.

The directory holds the server's backends and its Python; its name is in the names of the server's
shared memory. Every process of the server holds a lock on it, which says whether anything of a
server still lives: what a killed one left behind is removed by the next.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from cxrclient.errors import ServeFailed
from cxrclient.serving.supervise import remove
from cxrclient.serving.tritonserver import STUB, Installation, data_path

_PREFIX = "cxr-triton-"
# Triton 25.07 and newer let no caller register a region whose name begins like this.
_RESERVED = "triton_python_backend_shm_region_"
# A directory younger than this may belong to a server that has not taken its lock yet.
_STALE_AFTER_S = 60


class RuntimeDirectory:
    """The directory of one running server: backends, log, lock, and its shared memory's name.

    Attributes:
        path: the directory.
        lock: a file descriptor to hand to the server; what holds it open holds the lock.
        shared_memory_prefix: with it begins every shared memory region of this server.
    """

    def __init__(self) -> None:
        _remove_stale()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.shared_memory_prefix = _shared_memory_prefix(self.path)
        lock = _lock(self.path)
        if lock is None:
            raise ServeFailed(f"{self.path} is locked by another process; try again")
        self.lock = lock

    def link_backends(self, installation: Installation) -> Path:
        """Return a backend directory: the server's own, and `openvino` where it has none."""
        directory = self.path / "backends"
        python = directory / "python"
        python.mkdir(parents=True)
        for backend in installation.backends.iterdir():
            if backend.is_dir() and backend.name != "python":
                (directory / backend.name).symlink_to(backend)
        for file in (installation.backends / "python").iterdir():
            if file.is_file() and file.name != STUB:
                # Copied: Triton refuses a backend library that a link leads out of its directory.
                shutil.copy2(file, python)
        (python / STUB).symlink_to(installation.stub)
        if not installation.has_backend("openvino"):
            ours = data_path("backends/openvino", "deploy/openvino")
            (directory / "openvino").symlink_to(ours)
        return directory

    def link_python(self) -> Path:
        """Return a directory whose `python3` makes the stubs import what this process imports.

        The stub ignores PYTHONPATH and PYTHONHOME: it runs an isolated interpreter, which takes its
        paths from the first `python3` on PATH. So there is one: a virtual environment over the
        running Python, with this process's import path in it, editable installs included.
        """
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site_packages = self.path / "lib" / version / "site-packages"
        site_packages.mkdir(parents=True)
        home = Path(sys.base_prefix) / "bin"
        settings = f"home = {home}\ninclude-system-site-packages = false\n"
        self.path.joinpath("pyvenv.cfg").write_text(settings, encoding="utf-8")
        lines = ["import sys; sys.dont_write_bytecode = True"]
        for entry in map(Path, _import_path()):
            # addsitedir reads the .pth files in a directory; a plain line would not.
            lines.append(f"import site; site.addsitedir({str(entry)!r})")
        pth = site_packages / "cxr_triton.pth"
        pth.write_text("\n".join(lines) + "\n", encoding="utf-8")
        programs = self.path / "bin"
        programs.mkdir()
        (programs / "python3").symlink_to(home / version)
        return programs

    def release(self) -> None:
        """Remove the directory and whatever shared memory a killed process left."""
        os.close(self.lock)
        remove(self.path, self.shared_memory_prefix)


def _shared_memory_prefix(directory: Path) -> str:
    return f"{_RESERVED}{directory.name}"


def _import_path() -> list[str]:
    """Return this process's import path without the standard library, which the stub has."""
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return [
        entry
        for entry in sys.path
        if Path(entry).is_absolute()
        and not entry.endswith(".zip")
        and entry not in standard
        and Path(entry).name != "lib-dynload"
    ]


def _lock(directory: Path) -> int | None:
    """Lock a directory; None where another process holds the lock."""
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_stale() -> None:
    """Remove what servers left that were killed with all their processes."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            status = directory.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _STALE_AFTER_S:
                continue
            descriptor = _lock(directory)
        except OSError:  # gone meanwhile, or not a directory: not ours to mend
            continue
        if descriptor is not None:
            os.close(descriptor)
            remove(directory, _shared_memory_prefix(directory))
