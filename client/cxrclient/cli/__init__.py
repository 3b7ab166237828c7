"""The command line: one file a command, each a thin layer over the SDK."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
