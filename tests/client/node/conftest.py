"""What every test of the node shares."""

from __future__ import annotations

from dressed_film import drawn, film

__all__ = ["drawn", "film"]  # fixtures
