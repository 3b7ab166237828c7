"""Memory between films, under the names that model.py of older repositories imports."""

from __future__ import annotations

from cxrclient import files
from cxrexport.shared_memory import close_shared_memory

__all__ = ["close_shared_memory", "keep_freed_memory"]


def keep_freed_memory() -> bool:
    """Do so in a step of the server."""
    return files.keep_freed_memory(files.MemoryUse.FILM)
