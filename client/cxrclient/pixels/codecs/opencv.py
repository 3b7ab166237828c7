"""OpenCV's decoders, and what they raise."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt


def decoded_by_opencv(stream: bytes, mode: int) -> npt.NDArray[Any]:
    """Decode a PNG or a JPEG.

    Args:
        stream: the file.
        mode: OpenCV's IMREAD_ flags.

    Raises:
        ValueError: it is damaged.
        MemoryError: there is no memory for it.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(stream, dtype=np.uint8), mode)
    except cv2.error as error:
        if getattr(error, "code", None) == cv2.Error.StsNoMem:
            raise MemoryError("OpenCV has no memory") from None
        raise ValueError("OpenCV cannot decode it") from None
    if pixels is None or pixels.size == 0:
        raise ValueError("OpenCV cannot decode it")
    return np.asarray(pixels)
