"""JPEG and JPEG-LS as sequences of segments: what decoding needs. No pixel is decoded here."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from cxrclient.films.codestreams.damage import StreamDamaged
from cxrclient.films.limits import MAX_SCANS, MAX_SEGMENTS, refuse_more

JPEG_START = b"\xff\xd8"
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
# Source: ITU-T T.81 table B.1. SOF0 to SOF15 are frames, less DHT, JPG and DAC; SOF55 is JPEG-LS's
# (T.87).
FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
# Frames, tables, conditioning, scans, number of lines, restart interval, and LSE of JPEG-LS.
# Everything else (APPn, COM, JPGn) is metadata or unknown.
NEEDED = FRAME_HEADERS | {0xC4, 0xCC, START_OF_SCAN, 0xDB, 0xDC, 0xDD, 0xF8}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # carry nothing
_APP0, _APP14 = 0xE0, 0xEE
_MARKER = re.compile(rb"\xff([^\x00\xff])")  # behind as many FF as there may be
# In entropy-coded data FF 00 is a stuffed byte and FF D0..D7 a restart: no segment starts there.
# JPEG-LS stuffs a bit instead (T.87 A.1): FF is followed by a byte below 80 there.
_NEXT_MARKER = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_JFIF_WITHOUT_THUMBNAIL = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
# Source: Adobe Technical Note 5116, section 18. Version and flags say nothing of the colours.
_ADOBE_BYTES, _ADOBE_TRANSFORM = 12, 11
_ADOBE_WITHOUT_FLAGS = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


def clean_jpeg(data: bytes) -> bytes:
    """Give the same JPEG without comments and application segments, and nothing after its end.

    What decoders read stays: that there is a JFIF segment, and the transform that an Adobe segment
    names, for they decide whether three components are RGB or YCbCr. The server ignores EXIF
    orientation, as films are stored upright.

    Raises:
        EOFError: the file ends before its end marker.
        TooLarge: it has more scans or segments than any film.
    """
    kept = [JPEG_START]
    for marker, start, end in jpeg_segments(data):
        segment = data[start:end]
        body = segment[4:]
        if marker in NEEDED or marker == END_OF_IMAGE:
            kept.append(segment)
        elif marker == _APP0 and body.startswith(b"JFIF\0"):
            kept.append(_JFIF_WITHOUT_THUMBNAIL)
        elif marker == _APP14 and _is_adobe(body):
            kept.append(_ADOBE_WITHOUT_FLAGS + body[_ADOBE_TRANSFORM:_ADOBE_BYTES])
    return b"".join(kept)


def _is_adobe(body: bytes) -> bool:
    return body.startswith(b"Adobe") and len(body) >= _ADOBE_BYTES


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Give marker, start and end of each segment after SOI, up to and with EOI.

    A scan includes its data. What lies between the end of one and the start of the next belongs to
    none: fill bytes (FF), or damage.

    Raises:
        EOFError: the stream ends before its end marker.
        TooLarge: it has more scans or segments than any film.
    """
    at, scans, marker = len(JPEG_START), 0, 0
    for count in itertools.count(1):
        refuse_more(count, MAX_SEGMENTS, "segments")
        match = _MARKER.search(data, at)
        if match is None:
            raise StreamDamaged if data[at:].strip(b"\xff") else EOFError
        marker, start = match[1][0], match.end() - 2
        at = start + 2
        if marker != END_OF_IMAGE and marker not in _ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        if marker == START_OF_SCAN:
            scans += 1
            refuse_more(scans, MAX_SCANS, "scans")
            following = _NEXT_MARKER.search(data, at)
            at = following.start() if following else len(data) + 1
        if at > len(data):
            raise EOFError
        yield marker, start, at
        if marker == END_OF_IMAGE:
            return


def jpeg_metadata(stream: bytes) -> Iterator[tuple[int, int]]:
    """Give start and end of the bodies of metadata, and of what belongs to no segment."""
    end = len(JPEG_START)
    for marker, start, next_end in jpeg_segments(stream):
        yield end, start
        end = next_end
        if marker == _APP14 and _is_adobe(stream[start + 4 : end]):
            yield start + 9, start + 4 + _ADOBE_TRANSFORM
            yield start + 4 + _ADOBE_BYTES, end
        elif marker in _ALONE:
            yield start, end
        elif marker not in NEEDED and marker != END_OF_IMAGE:
            yield start + 4, end
    yield end, len(stream)
