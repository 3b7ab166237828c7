"""A film file's stored values, and one table from them to what a reader sees (extra `films`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
