"""What a command of the exporter does to start with less work; for commands, not for a library.

MONAI imports every optional package that it finds, which takes longer than torch and MONAI itself.
And the threads of torch wait for each other in a loop, which takes the cores from others.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of MONAI's optional packages those that its networks, transforms and measures never call; ignite
# only trains.
_NOT_CALLED = ("ignite", "pandas", "scipy.signal", "skimage", "sklearn")
_command = False


def this_is_a_command() -> None:
    """Say that this process runs one command of `cxrexport` and ends.

    Where another program calls the command, as a test does, nothing comes of it.
    """
    global _command
    program = Path(getattr(sys.modules["__main__"], "__file__", None) or "")
    if "cxrexport" not in (program.stem, program.parent.stem):
        return
    _command = True
    # libgomp reads it when torch is loaded. With other work on the machine, waiting in a loop
    # takes up to five times the processor time of the networks, and no less time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def import_monai() -> None:
    """Import MONAI for a command that does not train, without what it never calls.

    What MONAI does not find now, it misses until the process ends; so this does nothing where
    others may train later in the same process, as in tests.
    """
    if not _command or "monai" in sys.modules:
        return
    hidden = [name for name in _NOT_CALLED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None: not to be found
    try:
        with without_collection():
            importlib.import_module("monai")
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def without_collection() -> Iterator[None]:
    """Make many objects that stay, without the collector walking all of them again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
