"""The spool that these tests work with."""

from __future__ import annotations

from spooled import spool

__all__ = ["spool"]  # a fixture
