"""What a film file is, which of its bytes may leave, and the search for films."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
