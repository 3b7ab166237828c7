"""PNG, JPEG and JPEG 2000 as sequences of segments: what decoding needs, and nothing else.

No pixel is decoded here. Files of their own (PNG, JPEG) are rebuilt from a list of segments that
may stay; streams inside a DICOM object keep their length, and what must not travel is zeroed.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator

from cxrclient.errors import FilmError
from cxrclient.films.dicom_stream import refuse_more

__all__ = [
    "J2K_START",
    "JP2_START",
    "JPEG_START",
    "PNG_SIGNATURE",
    "clean_jpeg",
    "clean_png",
    "stream_bits",
    "zero_metadata",
]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
J2K_START = b"\xff\x4f\xff\x51"
JP2_START = b"\0\0\0\x0cjP  "

# Source: PNG specification, third edition, section 11.2 and 11.3.1 (tRNS changes the samples).
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

# Source: ITU-T T.81 table B.1. Frames, tables, scans, restart interval, number of lines; LSE is
# JPEG-LS (T.87). Everything else (APPn, COM, JPGn) is metadata or unknown, and stays behind.
_JPEG_KEPT = frozenset({*range(0xC0, 0xC8), *range(0xC9, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD, 0xF7, 0xF8})
_JPEG_FRAMES = (_JPEG_KEPT & frozenset(range(0xC0, 0xD0)) | {0xF7}) - {0xC4, 0xCC}
_JPEG_EOI, _JPEG_SOS, _JPEG_APP0, _JPEG_APP14 = 0xD9, 0xDA, 0xE0, 0xEE
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")  # behind as many FF as there may be
# In entropy-coded data FF 00 is a stuffed byte and FF D0..D7 a restart: no segment starts there.
# JPEG-LS stuffs a bit instead (T.87 A.1): FF is followed by a byte below 80 there.
_JPEG_NEXT_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
# Source: ITU-T T.800 table A.2.
_JP2_KEPT = (b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef")
# What no film has, and the server refuses too (`cxrexport.preprocessing.limits`, with sources).
_MAX_SCANS, _MAX_SEGMENTS, _MAX_CHUNKS, _MAX_TILES = 100, 10_000, 100_000, 16_384
_J2K_DEPTH = 42  # from the start of the codestream: Ssiz of its first component (A.5.1)
_J2K_SOT, _J2K_SOD, _J2K_COM, _J2K_EOC = 0xFF90, 0xFF93, 0xFF64, 0xFFD9
_JFIF_WITHOUT_THUMBNAIL = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
# Source: Adobe Technical Note 5116, section 18. Version and flags say nothing of the colours.
_ADOBE_BYTES, _ADOBE_TRANSFORM = 12, 11
_ADOBE_WITHOUT_FLAGS = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


def _truncated(kind: str) -> FilmError:
    return FilmError(
        "NOT_READABLE",
        f"The {kind} ends before its image does. Copy or export the file again.",
        status="rejected",
    )


def clean_png(data: bytes) -> bytes:
    """The same PNG with IHDR, PLTE, tRNS, IDAT and IEND only, and nothing after IEND.

    Raises:
        FilmError: `NOT_READABLE` where the file ends too early, `MULTI_FRAME` for an animation,
            `TOO_LARGE` where it has more chunks than any film.
    """
    kept: list[bytes | memoryview] = [PNG_SIGNATURE]
    for kind, body, chunk in _png_chunks(data):
        if kind == b"acTL" and int.from_bytes(body[:4], "big") > 1:
            raise FilmError(
                "MULTI_FRAME",
                "The PNG is an animation. Save the one frame that is the film.",
                status="rejected",
            )
        if kind in _PNG_KEPT:
            kept.append(chunk)
    return b"".join(kept)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Type, body and the whole chunk, up to and with IEND."""
    position, view, count = len(PNG_SIGNATURE), memoryview(data), 0
    while position + 12 <= len(data):
        count += 1
        refuse_more(count, _MAX_CHUNKS, "chunks")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        yield kind, view[position + 8 : end - 4], view[position:end]
        if kind == b"IEND":
            return
        position = end
    raise _truncated("PNG file")


def clean_jpeg(data: bytes) -> bytes:
    """The same JPEG without comments and application segments, and nothing after its end.

    What decoders read stays: that there is a JFIF segment, and the transform that an Adobe segment
    names, for they decide whether three components are RGB or YCbCr. The server ignores EXIF
    orientation, as films are stored upright.

    Raises:
        FilmError: `NOT_READABLE` where the file ends before its end marker, `TOO_LARGE` where it
            has more scans or segments than any film.
    """
    kept = [JPEG_START]
    for marker, start, end in _jpeg_segments(data):
        segment = data[start:end]
        body = segment[4:]
        if marker in _JPEG_KEPT:
            kept.append(segment)
        elif marker == _JPEG_APP0 and body.startswith(b"JFIF\0"):
            kept.append(_JFIF_WITHOUT_THUMBNAIL)
        elif marker == _JPEG_APP14 and _is_adobe(body):
            kept.append(_ADOBE_WITHOUT_FLAGS + body[_ADOBE_TRANSFORM:_ADOBE_BYTES])
        elif marker == _JPEG_EOI:
            kept.append(segment)
    return b"".join(kept)


def _is_adobe(body: bytes) -> bool:
    return body.startswith(b"Adobe") and len(body) >= _ADOBE_BYTES


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment after SOI up to EOI; a scan includes its data."""
    position, scans = len(JPEG_START), 0
    for count in itertools.count(1):
        refuse_more(count, _MAX_SEGMENTS, "segments")
        match = _JPEG_MARKER.search(data, position)
        if match is None:
            break
        marker, start = match[1][0], match.end() - 2
        if marker == _JPEG_EOI:
            yield marker, start, start + 2
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # stand alone, carry nothing
            position = start + 2
            continue
        if start + 4 > len(data):
            break
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if marker == _JPEG_SOS:
            scans += 1
            refuse_more(scans, _MAX_SCANS, "scans")
            following = _JPEG_NEXT_MARKER.search(data, end)
            if following is None:
                break
            end = following.start()
        if end > len(data):
            break
        yield marker, start, end
        position = end
    raise _truncated("JPEG image")


def stream_bits(stream: bytes) -> int:
    """How many bits the samples of a JPEG or JPEG 2000 stream have.

    Raises:
        FilmError: `NOT_READABLE` where the stream ends before it says so.
    """
    if stream.startswith(JPEG_START):
        for marker, start, end in _jpeg_segments(stream):
            if marker in _JPEG_FRAMES and end > start + 4:
                return stream[start + 4]
    elif (size := stream.find(J2K_START)) >= 0 and len(stream) > size + _J2K_DEPTH:
        return (stream[size + _J2K_DEPTH] & 0x7F) + 1
    raise _truncated("image")


def zero_metadata(stream: bytes) -> bytes:
    """A JPEG or JPEG 2000 stream out of a DICOM object, as long as before, its comments zeroed.

    Lengths stay, so a stream can be cut into its fragments again. An empty one comes back as it is.

    Raises:
        FilmError: `NOT_READABLE` where the stream ends too early.
    """
    if stream.startswith(JPEG_START):
        zeroed = list(_jpeg_metadata(stream))
    elif stream.startswith(J2K_START):
        zeroed = list(_j2k_metadata(stream, 0))
    elif stream.startswith(JP2_START):
        zeroed = list(_jp2_metadata(stream))
    else:
        return stream
    if not any(any(stream[start:end]) for start, end in zeroed):
        return stream
    clean = bytearray(stream)
    for start, end in zeroed:
        clean[start:end] = bytes(end - start)
    return bytes(clean)


def _jpeg_metadata(stream: bytes) -> Iterator[tuple[int, int]]:
    """Bodies of metadata, what lies between segments, and what follows the end."""
    end = len(JPEG_START)
    for marker, start, next_end in _jpeg_segments(stream):
        yield end, start
        end = next_end
        if marker == _JPEG_APP14 and _is_adobe(stream[start + 4 : end]):
            yield start + 9, start + 4 + _ADOBE_TRANSFORM
            yield start + 4 + _ADOBE_BYTES, end
        elif marker not in _JPEG_KEPT and marker != _JPEG_EOI:
            yield start + 4, end
    yield end, len(stream)


def _jp2_metadata(stream: bytes) -> Iterator[tuple[int, int]]:
    """JP2 has no place in DICOM, yet some files bring it: of its boxes the image's ones stay.

    Source: ITU-T T.800 annex I.
    """
    for kind, position, length in _boxes(stream, 0, len(stream)):
        if kind == b"jp2c":
            yield from _j2k_metadata(stream, position + (16 if length == 1 else 8))
            return
        end = min(position + length, len(stream))
        if kind == b"jp2h":
            yield from _jp2_header_metadata(stream, position + 8, end)
        elif kind not in (b"jP  ", b"ftyp"):
            yield position + 8, end
    raise _truncated("JPEG 2000 image")


def _jp2_header_metadata(stream: bytes, position: int, end: int) -> Iterator[tuple[int, int]]:
    for kind, start, length in _boxes(stream, position, end):
        position = start + length
        if kind not in _JP2_KEPT:
            yield start + 8, min(position, end)
    yield min(position, end), end


def _boxes(stream: bytes, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and length of each box, up to one whose length is none (but for the last)."""
    for count in itertools.count(1):
        if position + 8 > end:
            return
        refuse_more(count, _MAX_SEGMENTS, "boxes")
        length, kind = struct.unpack_from(">I4s", stream, position)
        if length < 8 and kind != b"jp2c":
            return
        yield kind, position, length
        position += length


def _j2k_metadata(stream: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Bodies of COM segments and what follows the end. Source: ITU-T T.800 annex A."""
    position, tile_end, parts, size = start + 2, 0, 0, len(stream)
    last = stream.rfind(b"\xff\xd9")
    for count in itertools.count(1):
        refuse_more(count, _MAX_SEGMENTS + 2 * _MAX_TILES, "segments")
        if position + 4 > size:
            break
        marker, length = struct.unpack_from(">HH", stream, position)
        if marker == _J2K_EOC:
            break
        if marker == _J2K_SOD:
            if tile_end <= position:
                raise _truncated("JPEG 2000 image")
            position = tile_end
            continue
        if marker == _J2K_SOT:
            parts += 1
            refuse_more(parts, _MAX_TILES, "tiles")
            # Psot: the length of the tile part; 0 means up to the end.
            psot = int.from_bytes(stream[position + 6 : position + 10], "big")
            tile_end = position + psot if psot else last
        if marker == _J2K_COM:
            yield position + 6, min(position + 2 + length, size)  # Rcom, the kind, stays
        position += 2 + length
    if stream[position : position + 2] == b"\xff\xd9":
        yield position + 2, size
    elif not size - 1 <= position <= size:  # some encoders leave the end marker out
        raise _truncated("JPEG 2000 image")
