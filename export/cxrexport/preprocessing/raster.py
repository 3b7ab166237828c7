"""PNG and JPEG films.

OpenCV decodes what is left of a truncated file without a word, so the file's own structure is
walked first: chunk checksums and IEND of a PNG, segments and the end marker of a JPEG.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.errors import Colour, MultiFrame, NotReadable
from cxrexport.preprocessing.film import DecodedFilm, film_from_stored
from cxrexport.preprocessing.limits import refuse_too_large

__all__ = ["JPEG_MAGIC", "PNG_MAGIC", "decode_jpeg", "decode_png"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"

_TRUNCATED = "the file ends before its image does; copy or export it again"
_DAMAGED = "the image is damaged; copy or export it again"
# Deflate cannot do better. Source: zlib technical details, "Maximum Compression Factor".
_DEFLATE_BOUND = 1032
# About a bit for a block of 64 pixels, and twice that for good measure.
_JPEG_PIXELS_PER_BYTE = 1024
# Grey values that JPEG's colour conversion may move a channel of a grey film (our measurement: 2).
_COLOUR_NOISE = 6
_END_OF_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x01}


def decode_png(encoded: bytes) -> DecodedFilm:
    """Decode a grey PNG of 1 to 16 bits; 16 bits stay 16 bits.

    Raises:
        FilmError: damaged, coloured, animated, constant, or a header that claims too much.
    """
    width, height, depth, held = _png_structure(encoded)
    refuse_too_large(width, height, held * _DEFLATE_BOUND * 8 // depth)
    return film_from_stored(_grey(_pixels(encoded, cv2.IMREAD_UNCHANGED)), ("NO_HEADER",))


def decode_jpeg(encoded: bytes) -> DecodedFilm:
    """Decode a grey JPEG; its EXIF orientation is ignored, as films are stored upright.

    Raises:
        FilmError: damaged, coloured, constant, or a header that claims too much.
    """
    width, height, components = _jpeg_structure(encoded)
    refuse_too_large(width, height, len(encoded) * _JPEG_PIXELS_PER_BYTE)
    if components not in (1, 3):
        raise Colour("it is a colour image; send the original radiograph")
    mode = cv2.IMREAD_GRAYSCALE if components == 1 else cv2.IMREAD_COLOR
    pixels = _pixels(encoded, mode | cv2.IMREAD_IGNORE_ORIENTATION)
    return film_from_stored(_grey(pixels), ("NO_HEADER", "LOSSY_COMPRESSED"))


def _pixels(encoded: bytes, mode: int) -> npt.NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), mode)
    except cv2.error:
        raise NotReadable(_DAMAGED) from None
    if pixels is None or pixels.size == 0:
        raise NotReadable(_DAMAGED)
    return np.asarray(pixels)


def _grey(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Take the one channel that equal channels are; an opaque alpha channel says nothing.

    Raises:
        Colour: the channels differ, or part of the image is transparent.
    """
    if pixels.ndim == 2:
        return pixels
    top = 255 if pixels.dtype == np.uint8 else 65535
    if pixels.shape[2] in (2, 4) and int(pixels[..., -1].min()) != top:
        raise Colour("parts of it are transparent; send the original radiograph")
    if pixels.shape[2] < 3:
        return np.ascontiguousarray(pixels[..., 0])
    blue, green, red = (pixels[..., channel] for channel in range(3))
    noise = _COLOUR_NOISE * (top // 255)
    if max(int(cv2.absdiff(green, other).max()) for other in (blue, red)) > noise:
        raise Colour("it is a colour image; send the original radiograph")
    return np.ascontiguousarray(green)


def _png_structure(encoded: bytes) -> tuple[int, int, int, int]:
    """Walk the chunks: width, height, bits a pixel, and bytes of compressed image.

    Raises:
        NotReadable: a chunk is cut off or its checksum is wrong.
        MultiFrame: it is an animation.
    """
    at, held, header = len(PNG_MAGIC), 0, b""
    while True:
        length, kind = struct.unpack_from(">I4s", _exactly(encoded, at, 8))
        body = _exactly(encoded, at + 8, length)
        (checksum,) = struct.unpack(">I", _exactly(encoded, at + 8 + length, 4))
        if zlib.crc32(body, zlib.crc32(kind)) != checksum or (not header and kind != b"IHDR"):
            raise NotReadable(_DAMAGED)
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            held += length
        elif kind == b"acTL" and length == 8 and struct.unpack_from(">I", body)[0] > 1:
            raise MultiFrame("it is an animation; send one frontal film as one image")
        elif kind == b"IEND":
            break
        at += 12 + length
    if len(header) != 13 or not held:
        raise NotReadable(_DAMAGED)
    width, height, depth, colour = struct.unpack_from(">IIBB", header)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    if min(width, height, depth * samples) < 1:
        raise NotReadable(_DAMAGED)
    return width, height, depth * samples, held


def _jpeg_structure(encoded: bytes) -> tuple[int, int, int]:
    """Walk the segments up to the end marker: width, height and components.

    Raises:
        NotReadable: the end marker or a segment is missing, or it is not an 8-bit image.
    """
    at, frame = 2, b""
    while True:
        marker, at = _next_marker(encoded, at)
        if marker == 0xD9:
            break
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack(">H", _exactly(encoded, at, 2))
        body = _exactly(encoded, at + 2, max(length - 2, 0))
        if marker in _FRAME_HEADERS:
            frame = body
        at += max(length, 2)
        if marker == 0xDA:
            end = _END_OF_SCAN.search(encoded, at)
            if end is None:
                raise NotReadable(_TRUNCATED)
            at = end.start()
    if len(frame) < 6:
        raise NotReadable(_DAMAGED)
    depth, height, width, components = struct.unpack_from(">BHHB", frame)
    if depth != 8 or min(width, height, components) < 1:
        raise NotReadable("it is not an 8-bit JPEG; export the film as DICOM or PNG")
    return width, height, components


def _next_marker(encoded: bytes, at: int) -> tuple[int, int]:
    """Read the marker at `at`, past fill bytes; give it and the place behind it."""
    if _exactly(encoded, at, 1) != b"\xff":
        raise NotReadable(_DAMAGED)
    while _exactly(encoded, at, 1) == b"\xff":
        at += 1
    return encoded[at], at + 1


def _exactly(encoded: bytes, at: int, length: int) -> bytes:
    part = encoded[at : at + length]
    if len(part) < length:
        raise NotReadable(_TRUNCATED)
    return part
