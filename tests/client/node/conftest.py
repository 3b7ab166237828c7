"""What every test of the node shares."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest

from dressed_film import drawn, film

__all__ = ["drawn", "film"]  # fixtures


@pytest.fixture(autouse=True)
def one_day() -> None:
    """No test begins on one day and ends on the next: some tell of the films of today."""
    now = datetime.now()
    left_s = (now.replace(hour=23, minute=59, second=59) - now + timedelta(seconds=1)).seconds
    if left_s < 60:
        time.sleep(left_s + 1)
