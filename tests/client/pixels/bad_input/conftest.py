"""Whole films in several encodings, to be damaged."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000Lossless,
)


@pytest.fixture(scope="session")
def grey(thorax: np.ndarray) -> np.ndarray:
    return (thorax >> 4).astype(np.uint8)


@pytest.fixture(scope="session")
def encodings(make_dicom: Callable[..., bytes], thorax: np.ndarray) -> dict[str, bytes]:
    grey = (thorax >> 4).astype(np.uint8)
    compressed = dcmread(io.BytesIO(make_dicom(thorax)))
    compressed.compress(JPEG2000Lossless)
    buffer = io.BytesIO()
    compressed.save_as(buffer, enforce_file_format=True)
    return {
        "png": cv2.imencode(".png", grey)[1].tobytes(),
        "jpeg": cv2.imencode(".jpg", grey)[1].tobytes(),
        "progressive jpeg": cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[
            1
        ].tobytes(),
        "dicom": make_dicom(thorax),
        "deflated dicom": make_dicom(thorax, syntax="1.2.840.10008.1.2.1.99"),
        "jpeg 2000 dicom": buffer.getvalue(),
    }
