"""JPEG 2000 and HTJ2K as sequences of segments, JP2 as one of boxes. No pixel is decoded here.

Source: ITU-T T.800 (ISO/IEC 15444-1), annexes A and I.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

from cxrclient.films.codestreams.damage import StreamDamaged
from cxrclient.films.limits import MAX_SEGMENTS, MAX_TILES, refuse_more

J2K_START = b"\xff\x4f\xff\x51"
JP2_START = b"\0\0\0\x0cjP  "
START_OF_TILE = 0xFF90
_START_OF_DATA, _COMMENT, _END = 0xFF93, 0xFF64, 0xFFD9
_END_BYTES = b"\xff\xd9"
_DEPTH = 42  # from the start of the codestream: Ssiz of its first component (A.5.1)
_KEPT_IN_HEADER = (b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef")


def j2k_segments(data: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Give marker, start and end of each segment of a codestream, up to and with its end marker.

    The data of a tile-part are a segment that starts with SOD.

    Args:
        data: holds the codestream.
        start: where it starts.

    Raises:
        EOFError: it ends before its end marker.
        TooLarge: it has more segments or tile-parts than any film.
    """
    at, tile_end, parts, last = start + 2, 0, 0, data.rfind(_END_BYTES)
    for count in itertools.count(1):
        refuse_more(count, MAX_SEGMENTS + 2 * MAX_TILES, "segments")
        if data[at : at + 2] == _END_BYTES:
            yield _END, at, at + 2
            return
        if at + 4 > len(data):
            raise EOFError
        marker, length = struct.unpack_from(">HH", data, at)
        end = tile_end if marker == _START_OF_DATA else at + 2 + max(2, length)
        if end <= at or (marker != _START_OF_DATA and length < 2):
            raise StreamDamaged
        if marker != _START_OF_DATA and end > len(data):
            raise EOFError
        if marker == START_OF_TILE:
            parts += 1
            refuse_more(parts, MAX_TILES, "parts of tiles")
            # Psot: the length of the tile-part; 0 is for up to the end of the codestream (A.4.2).
            psot = int.from_bytes(data[at + 6 : at + 10], "big")
            tile_end = at + psot if psot else last
        yield marker, at, end
        at = end


def jp2_boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give kind, and start and end of the content, of each box between `at` and `end` (I.4).

    Raises:
        EOFError: a box ends beyond, or before it starts.
        TooLarge: there are more boxes than in any film.
    """
    for count in itertools.count(1):
        if at + 8 > end:
            return
        refuse_more(count, MAX_SEGMENTS, "boxes")
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1:
            if start + 8 > len(data):
                raise EOFError
            length, start = int.from_bytes(data[start : start + 8], "big"), at + 16
        after = end if length == 0 else at + length
        if after > end:
            raise EOFError
        if after < start:
            raise StreamDamaged
        yield kind, start, after
        at = after


def depth_byte(data: bytes, start: int) -> int:
    """Give the byte that says how many bits the samples of the codestream at `start` have, less 1.

    Its highest bit is for signed samples.

    Raises:
        EOFError: the codestream ends before.
    """
    if len(data) <= start + _DEPTH:
        raise EOFError
    return data[start + _DEPTH]


def jp2_metadata(stream: bytes) -> Iterator[tuple[int, int]]:
    """Give start and end of what is no image's: JP2 has no place in DICOM, yet some files bring it.

    Raises:
        EOFError: there is no codestream, or it ends too early.
    """
    for kind, start, end in jp2_boxes(stream, 0, len(stream)):
        if kind == b"jp2c":
            yield from j2k_metadata(stream, start)
            return
        if kind == b"jp2h":
            yield from _jp2_header_metadata(stream, start, end)
        elif kind not in (b"jP  ", b"ftyp"):
            yield start, end
    raise EOFError


def _jp2_header_metadata(stream: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    for kind, start, after in jp2_boxes(stream, at, end):
        if kind not in _KEPT_IN_HEADER:
            yield start, after
        at = after
    yield at, end


def j2k_metadata(stream: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Give start and end of the bodies of comments, and of what follows the end."""
    end = start + 2
    try:
        for marker, at, end in j2k_segments(stream, start):
            if marker == _COMMENT:
                yield at + 6, end  # Rcom, the kind, stays
    except EOFError:
        if not len(stream) - 1 <= end <= len(stream):  # some encoders leave the end marker out
            raise
    else:
        yield end, len(stream)
