"""How a walk through a stream ends that comes to no end: EOFError where it is cut off."""

from __future__ import annotations


class StreamDamaged(EOFError):
    """The stream is not cut off where it was looked at, but makes no sense there."""
