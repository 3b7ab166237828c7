"""Runs over many films: their journal and summary, and the way into an archive."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
