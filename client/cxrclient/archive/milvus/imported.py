"""Importing pymilvus and Milvus Lite without what they import and the archive never calls.

pandas, requests and pkg_resources are more than half of that import's time. In a command, where no
other thread imports, modules stand in for them meanwhile; each loads its original when it is used.
scipy, which pymilvus's first search loads to see whether a vector is one of its sparse matrices, is
hidden while it looks.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

_LATER = ("pandas", "pandas.api", "pandas.api.types", "requests", "tqdm")
_alone = False


def import_lightly() -> None:
    """Say that this process is a command: from now on pymilvus is imported lightly.

    Not for a program of somebody else's: another thread of it may import pandas at the same time.
    """
    global _alone  # what a process is, is known once
    _alone = True


def import_pymilvus(*, lite: bool) -> None:
    """Import pymilvus, lightly in a command.

    Args:
        lite: Milvus Lite too.
    """
    if not _alone or "pymilvus" in sys.modules:
        return
    resources = ModuleType("pkg_resources")  # Milvus Lite asks it for its own version
    resources.DistributionNotFound = importlib.metadata.PackageNotFoundError  # type: ignore[attr-defined]
    resources.get_distribution = importlib.metadata.distribution  # type: ignore[attr-defined]
    collects = gc.isenabled()
    gc.disable()  # a hundred thousand objects that stay, and would be walked again and again
    try:
        with importing_lightly(), _in_place({"pkg_resources": resources, "scipy": None}):
            importlib.import_module("pymilvus.client.utils").SciPyHelper.is_scipy_sparse(None)
            if lite:
                importlib.import_module("milvus_lite.server_manager")
        gc.freeze()
    finally:
        if collects:
            gc.enable()


def importing_lightly() -> AbstractContextManager[None]:
    """Import within the block without what `_LATER` names, where this process is a command.

    Of use for pydicom, too: it loads requests and tqdm to fetch its examples.
    """
    return _in_place({name: _StandIn(name) for name in _LATER} if _alone else {})


@contextmanager
def _in_place(modules: Mapping[str, Any]) -> Iterator[None]:
    """Put modules in the places of those that are not there yet; None hides one."""
    put = {name: each for name, each in modules.items() if name.split(".")[0] not in sys.modules}
    sys.modules.update(put)
    try:
        yield
    finally:
        for name, each in put.items():
            if sys.modules.get(name) is each:
                del sys.modules[name]


class _StandIn(ModuleType):
    """A module until its original is needed."""

    __path__ = []  # a package  # noqa: RUF012 - of the type that modules have

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:  # imported now, and called later or never
            return functools.partial(_call, self.__name__, name)
        return getattr(importlib.import_module(self.__name__), name)


def _call(module: str, name: str, *arguments: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*arguments)
