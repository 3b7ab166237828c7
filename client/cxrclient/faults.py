"""Faults of ours, kept apart from those of a film."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import ModuleType

from cxrclient.errors import FilmError

INTERNAL = "INTERNAL"


def is_ours(error: BaseException) -> bool:
    """Whether what went wrong while a film was read says nothing of the film.

    No damage to a film makes a module or a name be missing, takes away the machine's memory, or
    makes a call of the system fail. All else may be damage: pydicom raises ValueError, KeyError,
    TypeError, AttributeError and more over it, RecursionError over sequences within sequences, and
    each decoder its own kinds.
    """
    if isinstance(error, AttributeError):  # of a module that was not imported to its end
        return isinstance(error.obj, ModuleType)
    if isinstance(error, OSError):  # Pillow's have no number
        return error.errno is not None
    if isinstance(error, NameError):
        return not isinstance(error, UnboundLocalError)
    return isinstance(error, ImportError | MemoryError | KeyboardInterrupt | SystemExit)


def internal_error(error: BaseException, path: str | None = None) -> FilmError:
    """The error of a film that was lost to a fault of ours.

    It says what failed and where, but not why: a foreign message may quote the film's header.
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    missing = f" of {error.name}" if isinstance(error, ImportError) and error.name else ""
    mend = {
        ImportError: "Install cxr-triton again",
        MemoryError: "Give it more memory, or less at a time with `jobs`",
    }
    what = next((mend[kind] for kind in mend if isinstance(error, kind)), "Please report this line")
    return FilmError(
        INTERNAL,
        f"The client itself failed, not the film ({type(error).__name__}{missing}{place}). {what}.",
        status="failed",
        path=path,
        retriable=isinstance(error, MemoryError),
    )
