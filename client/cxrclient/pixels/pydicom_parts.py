"""What decoding uses of pydicom; imported where it is needed, as `cxrclient.films` has its own.

The same trap: the package comes first, so that whoever comes through here waits until it is whole.
"""

from __future__ import annotations

import pydicom  # noqa: F401  # the package first: only for it does Python wait till it is whole
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.tag import Tag
from pydicom.uid import UID

__all__ = [
    "UID",
    "DataElement",
    "Dataset",
    "FileMetaDataset",
    "RawDataElement",
    "Tag",
    "as_pixel_options",
    "encapsulate",
    "generate_frames",
    "get_decoder",
]
