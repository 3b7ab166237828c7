"""Faults of ours, kept apart from those of a film.

The client has the same rule (`cxrclient.faults`); this package imports nothing of it.
"""

from __future__ import annotations

from types import ModuleType

import cv2

__all__ = ["is_ours"]


def is_ours(error: BaseException) -> bool:
    """Tell whether what went wrong while a film was decoded says nothing of the film.

    No damage to a film makes a module or a name be missing, takes away the machine's memory, or
    makes a call of the system fail. All else may be damage: each decoder raises its own kinds.
    """
    if isinstance(error, AttributeError):  # of a module that was not imported to its end
        return isinstance(error.obj, ModuleType)
    if isinstance(error, OSError):  # Pillow's have no number
        return error.errno is not None
    if isinstance(error, NameError):
        return not isinstance(error, UnboundLocalError)
    if isinstance(error, cv2.error):
        return getattr(error, "code", None) == cv2.Error.StsNoMem
    return isinstance(error, ImportError | MemoryError | KeyboardInterrupt | SystemExit)
