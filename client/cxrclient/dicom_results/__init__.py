"""What a server says of a film, as DICOM objects in the film's own study (extra `pacs`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
