"""What the client uses of pydicom, imported as one: `from cxrclient.films.pydicom_parts import …`.

A trap: pydicom's modules import each other in circles. Where one thread imports the package and
another one a module of it, each waits for what the other holds; Python then gives both of them half
a module, for as long as the process lives. Whoever comes through this module waits until it is
whole; so nothing else in the client imports pydicom.
"""

from __future__ import annotations

import pydicom  # noqa: F401  # the package first: only for it does Python wait till it is whole
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import data_element_generator, read_partial, read_sequence
from pydicom.filewriter import dcmwrite

__all__ = [
    "Dataset",
    "FileMetaDataset",
    "data_element_generator",
    "dcmwrite",
    "read_partial",
    "read_sequence",
]
