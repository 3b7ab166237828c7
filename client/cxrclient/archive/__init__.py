"""The archive of films: embeddings in Milvus, and the films nearest to one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
