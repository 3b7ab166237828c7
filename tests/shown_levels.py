"""Films of few levels, as the server and as pydicom show them."""

from __future__ import annotations

import io

import numpy as np
from pydicom import dcmread
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from cxrexport.preprocessing import PreprocessingSpec, decode_film

SPEC = PreprocessingSpec(size_px=256)


def levels(encoded: bytes) -> np.ndarray:
    """The decoded film, its range spread over 0..1."""
    pixels = decode_film(encoded).pixels.astype(np.float64)
    return (pixels - pixels.min()) / (pixels.max() - pixels.min())


def as_pydicom_sees_it(encoded: bytes) -> np.ndarray:
    """The same by pydicom's own functions, polarity turned."""
    dataset = dcmread(io.BytesIO(encoded))
    seen = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(float)
    seen = (seen - seen.min()) / (seen.max() - seen.min())
    return 1 - seen if dataset.PhotometricInterpretation == "MONOCHROME1" else seen
