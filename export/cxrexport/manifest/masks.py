"""Lung masks as files: read by OpenCV, except what its decoders must not be given."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.films import J2K_START, JP2_START


def read_mask(path: Path) -> npt.NDArray[np.uint8] | None:
    """Read a mask: grey levels, uint8 [rows, columns]; None where it is no picture.

    JPEG 2000 is none here: OpenCV 4.10 and 4.11 can be made to write where they must not while
    they read it (CVE-2025-53644; SECURITY.md says why it is not a newer one).
    """
    try:
        encoded = path.read_bytes()
    except OSError:
        return None
    if not encoded or encoded.startswith((J2K_START, JP2_START)):
        return None
    mask = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if mask is None else np.asarray(mask, np.uint8)
