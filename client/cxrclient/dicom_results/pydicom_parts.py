"""What DICOM results use of pydicom, imported as one: see `cxrclient.films.pydicom_parts`."""

from __future__ import annotations

import pydicom  # noqa: F401  # the package first: only for it does Python wait till it is whole
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import correct_ambiguous_vr, dcmwrite
from pydicom.sr.codedict import codes
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)
from pydicom.valuerep import DSfloat

__all__ = [
    "DSfloat",
    "DataElement",
    "Dataset",
    "ExplicitVRLittleEndian",
    "FileMetaDataset",
    "JPEGBaseline8Bit",
    "RawDataElement",
    "SecondaryCaptureImageStorage",
    "codes",
    "convert_encodings",
    "correct_ambiguous_vr",
    "dcmwrite",
    "dictionary_VR",
    "encapsulate",
    "tag_for_keyword",
]
