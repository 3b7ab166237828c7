"""What a served step says of an error that nobody foresaw."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

_logger = logging.getLogger(__name__)


def describe_unexpected(step: str, error: Exception) -> str:
    """Say what failed and where, but not why: a foreign message may quote the film's header."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    _logger.error("%s failed unexpectedly: %s", step, place)
    return f"{step} failed unexpectedly ({place}); please report this line"
