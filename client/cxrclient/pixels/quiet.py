"""pydicom's and highdicom's remarks on odd files, kept to ourselves.

They quote values, and damage to a length can put a patient's name among those of a harmless
attribute. What is wrong with a film is in the error that we raise.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

_LOGGERS = ("pydicom", "highdicom")
_lock = threading.Lock()
_inside = 0
_until_all_left = contextlib.ExitStack()


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Let no warning, and nothing that they log, out while this lasts.

    Of several threads the first one begins it, and the last one ends it: warnings and loggers are
    the process's. Whoever is in here has all of pydicom: it is imported through the one module that
    waits for it.
    """
    global _inside  # of all threads
    import cxrclient.pixels.pydicom_parts  # noqa: F401

    with _lock:
        if _inside == 0:
            _until_all_left.enter_context(_quiet())
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _until_all_left.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.propagate for logger in loggers]
    silent = logging.NullHandler()  # without any handler, logging would write to stderr
    for logger in loggers:
        logger.addHandler(silent)
        logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, propagated in zip(loggers, before, strict=True):
            logger.propagate = propagated
            logger.removeHandler(silent)
