"""JPEG of 8 bits, baseline or progressive, by a decoder that raises where the stream is cut off.

OpenCV and Pillow draw grey where data lack, and raise nothing. libjpeg-turbo decodes in all three,
to the same pixels.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from cxrclient.errors import NotReadable
from cxrclient.pixels.codecs.claims import DAMAGED, Claim, bare_jpeg
from cxrclient.pixels.codecs.jpeg_words import means_damage
from cxrclient.pixels.codecs.opencv import decoded_by_opencv
from cxrclient.pixels.isolated import in_own_process

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
        pixels = decoded_by_opencv(bare, cv2.IMREAD_GRAYSCALE)
        if claim.samples == 3:  # of which kind, may stand in what is not bare
            pixels = decoded_by_opencv(stream, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return pixels.tobytes()

    try:
        whole = in_own_process(
            decoded, math.prod(shape), refuse=lambda said: means_damage(said, bare)
        )
    except ValueError:
        raise NotReadable(DAMAGED) from None
    return np.frombuffer(whole, dtype=np.uint8).reshape(shape)
