"""PNG and JPEG films."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.errors import Colour, NotReadable
from cxrclient.faults import is_ours
from cxrclient.films import bare_png, refuse_more
from cxrclient.pixels.codecs.claims import DAMAGED, Claim, jpeg_claim, png_claim
from cxrclient.pixels.codecs.eight_bit_jpeg import decode_eight_bits
from cxrclient.pixels.codecs.medical_jpeg import decode_medical, is_lossless, is_medical
from cxrclient.pixels.codecs.opencv import decoded_by_opencv
from cxrclient.pixels.film import StoredFilm, film_from_stored
from cxrclient.pixels.limits import (
    JPEG_PIXELS_PER_BYTE,
    MAX_HELD_BYTES,
    refuse_coded,
    refuse_too_large,
)
from cxrclient.pixels.quiet import quiet_pydicom
from cxrclient.pixels.worker import in_worker

# Deflate cannot do better. Source: zlib technical details, "Maximum Compression Factor".
_DEFLATE_BOUND = 1032
_STRIP_PX = 1 << 20  # in which channels are compared, so that no copies of whole channels are made
# A step of chroma moves a channel by up to 1.772 grey values (ITU-R BT.601): three steps are noise.
_COLOUR_NOISE = 6
_COLOUR = "it is a colour image; send the original radiograph"


def decode_png(encoded: bytes) -> StoredFilm:
    """Decode a grey PNG of 1 to 16 bits; 16 bits stay 16 bits.

    Raises:
        FilmError: damaged, coloured, animated, constant, or a header that claims too much.
    """
    claim = png_claim(encoded)
    holdable = claim.payload * _DEFLATE_BOUND * 8 // (claim.bits * claim.samples)
    sample_bytes = claim.channels * (2 if claim.bits > 8 else 1)
    refuse_too_large(claim.width, claim.height, holdable, sample_bytes)
    pixels = _pixels(bare_png(encoded))
    return film_from_stored(_grey(pixels), ("NO_HEADER",))


def decode_jpeg(encoded: bytes) -> StoredFilm:
    """Decode a grey JPEG; its EXIF orientation is ignored, as films are stored upright.

    Besides ordinary ones those of 12 bits, lossless ones of up to 16, and JPEG-LS.

    Raises:
        FilmError: damaged, coloured, constant, or a header that claims too much.
    """
    claim = jpeg_claim(encoded)
    refuse_too_large(claim.width, claim.height, claim.payload * JPEG_PIXELS_PER_BYTE)
    if is_medical(claim):
        return _medical(encoded, claim)
    if claim.samples not in (1, 3):
        raise Colour(_COLOUR)
    refuse_too_large(claim.width, claim.height, None, claim.samples)
    if claim.scans > 1:
        # All coefficients, of two bytes, are held until the last scan.
        held = 3 * claim.samples * claim.width * claim.height
        refuse_more(held, MAX_HELD_BYTES, "bytes to hold while it is decoded")
    pixels = _grey(decode_eight_bits(encoded, claim))
    return film_from_stored(pixels, ("NO_HEADER", "LOSSY_COMPRESSED"))


def _medical(encoded: bytes, claim: Claim) -> StoredFilm:
    if claim.samples != 1:
        raise Colour(_COLOUR)
    refuse_coded(claim.width, claim.height, claim.bits)
    try:
        with quiet_pydicom():
            pixels = decode_medical(encoded, claim)
    except Exception as error:
        if is_ours(error):
            raise
        # Each decoder raises its own kind.
        raise NotReadable(DAMAGED) from None
    lossy = () if is_lossless(claim) else ("LOSSY_COMPRESSED",)
    return film_from_stored(pixels, ("NO_HEADER", *lossy))


def _pixels(encoded: bytes) -> npt.NDArray[Any]:
    try:
        return in_worker(decoded_by_opencv, encoded, cv2.IMREAD_UNCHANGED)
    except ValueError:
        raise NotReadable(DAMAGED) from None


def _grey(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Take the one channel that equal channels are; an opaque alpha channel says nothing.

    Raises:
        Colour: the channels differ, or part of the image is transparent.
    """
    if pixels.ndim == 2:
        return pixels
    rows = max(1, _STRIP_PX // pixels.shape[1])
    for first in range(0, pixels.shape[0], rows):
        _refuse_colour(pixels[first : first + rows])
    return np.ascontiguousarray(pixels[..., 1 if pixels.shape[2] > 2 else 0])


def _refuse_colour(pixels: npt.NDArray[Any]) -> None:
    top = 255 if pixels.dtype == np.uint8 else 65535
    if pixels.shape[2] in (2, 4) and int(pixels[..., -1].min()) != top:
        raise Colour("parts of it are transparent; send the original radiograph")
    if pixels.shape[2] < 3:
        return
    blue, green, red = (pixels[..., channel] for channel in range(3))
    noise = _COLOUR_NOISE * (top // 255)
    if max(int(cv2.absdiff(green, other).max()) for other in (blue, red)) > noise:
        raise Colour(_COLOUR)
