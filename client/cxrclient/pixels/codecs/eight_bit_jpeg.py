"""JPEG of 8 bits, baseline or progressive, by a decoder that raises where the stream is cut off.

OpenCV and Pillow draw grey where data lack, and raise nothing. libjpeg-turbo decodes in all three,
to the same pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from cxrclient.errors import NotReadable
from cxrclient.pixels.codecs.claims import DAMAGED, Claim, bare_jpeg
from cxrclient.pixels.codecs.jpeg_words import means_damage
from cxrclient.pixels.codecs.opencv import decoded_by_opencv
from cxrclient.pixels.worker import in_worker, room_for

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
    try:
        return in_worker(
            _decoded,
            stream,
            (claim.height, claim.width, claim.samples),
            refuse=lambda said: bool(said) and means_damage(said, bare_jpeg(stream)),
        )
    except ValueError:
        raise NotReadable(DAMAGED) from None


def _decoded(stream: bytes, shape: tuple[int, int, int]) -> _Pixels:
    """Decode, in the worker. What libjpeg remarks upon without lack of pixels is no damage.

    simplejpeg raises for harmless oddities too, as of a JFIF marker, and its libjpeg keeps to the
    first remark, which may hide a second one. OpenCV reads all; what it says of the bare stream,
    which has no such oddity, is judged.
    """
    samples = shape[2]
    order = "GRAY" if samples == 1 else "BGR"
    try:
        pixels: _Pixels = simplejpeg.decode_jpeg(stream, order, buffer=room_for(shape))
    except ValueError as error:
        bare = bare_jpeg(bytes(stream))
        if means_damage(str(error), bare):
            raise
        pixels = decoded_by_opencv(bare, cv2.IMREAD_GRAYSCALE)
        if samples == 3:  # of which kind, may stand in what is not bare
            pixels = decoded_by_opencv(stream, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        return pixels
    return pixels[..., 0] if samples == 1 else pixels
