"""JPEG of 8 bits, baseline or progressive, by a decoder that raises where the stream is cut off.

OpenCV and Pillow draw grey where data lack, and raise nothing. libjpeg-turbo decodes in all three,
to the same pixels.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from cxrexport.errors import NotReadable
from cxrexport.preprocessing.isolated import in_own_process
from cxrexport.preprocessing.jpeg_words import means_damage
from cxrexport.preprocessing.structure import DAMAGED, Claim, bare_jpeg

__all__ = ["decode_eight_bits"]

_Pixels = npt.NDArray[np.uint8]


def decode_eight_bits(stream: bytes, claim: Claim) -> _Pixels:
    """Decode a JPEG of one or three samples of 8 bits; its EXIF orientation is ignored.

    Args:
        stream: the JPEG.
        claim: what it says of itself.

    Returns:
        [rows, columns], or of three samples [rows, columns, blue green red].

    Raises:
        NotReadable: part of it is missing or damaged.
    """
    colour = "GRAY" if claim.samples == 1 else "BGR"
    try:
        pixels: _Pixels = simplejpeg.decode_jpeg(stream, colour)
    except ValueError as error:
        return _odd(stream, claim, str(error))
    return pixels[..., 0] if claim.samples == 1 else pixels


def _odd(stream: bytes, claim: Claim, words: str) -> _Pixels:
    """Decode what libjpeg remarks upon without lack of pixels, or refuse it.

    simplejpeg raises for harmless oddities too, as of a JFIF marker, and its libjpeg keeps to the
    first remark, which may hide a second one. OpenCV reads all; what it says of the bare stream,
    which has no such oddity, is judged.
    """
    bare = bare_jpeg(stream)
    if means_damage(words, bare):
        raise NotReadable(DAMAGED)
    shape = (claim.height, claim.width) + (3,) * (claim.samples == 3)

    def decoded() -> bytes:
        pixels = _by_opencv(bare, cv2.IMREAD_GRAYSCALE)
        if claim.samples == 3:  # of which kind, may stand in what is not bare
            pixels = _by_opencv(stream, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return pixels.tobytes()

    try:
        whole = in_own_process(
            decoded, math.prod(shape), refuse=lambda said: means_damage(said, bare)
        )
    except ValueError:
        raise NotReadable(DAMAGED) from None
    return np.frombuffer(whole, dtype=np.uint8).reshape(shape)


def _by_opencv(stream: bytes, mode: int) -> npt.NDArray[Any]:
    pixels = cv2.imdecode(np.frombuffer(stream, dtype=np.uint8), mode)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    return np.asarray(pixels)
