"""Streams out of a DICOM object: as long as before, without what is no image's.

Files of their own (PNG, JPEG) are rebuilt from a list of segments that may stay; streams inside a
DICOM object keep their length, and what must not travel is zeroed.
"""

from __future__ import annotations

from cxrclient.errors import NotReadable
from cxrclient.films.codestreams.jpeg import (
    FRAME_HEADERS,
    JPEG_START,
    jpeg_metadata,
    jpeg_segments,
)
from cxrclient.films.codestreams.jpeg2000 import (
    J2K_START,
    JP2_START,
    depth_byte,
    j2k_metadata,
    jp2_metadata,
)

STREAM_STARTS = (JPEG_START, J2K_START, JP2_START)


def cut_off(kind: str) -> NotReadable:
    """Make the error of a film that is cut off."""
    return NotReadable(f"The {kind} ends before its image does. Copy or export the file again.")


def stream_bits(stream: bytes) -> int:
    """Tell how many bits the samples of a JPEG or JPEG 2000 stream have.

    Raises:
        FilmError: `NOT_READABLE` where the stream ends before it says so.
    """
    is_jpeg = stream.startswith(JPEG_START)
    try:
        if not is_jpeg:
            start = stream.find(J2K_START)
            return (depth_byte(stream, start if start >= 0 else len(stream)) & 0x7F) + 1
        for marker, start, end in jpeg_segments(stream):
            if marker in FRAME_HEADERS and end > start + 4:
                return stream[start + 4]
    except EOFError:
        raise cut_off("JPEG image" if is_jpeg else "image") from None
    raise cut_off("image")


def zero_metadata(stream: bytes) -> bytes:
    """Give a JPEG or JPEG 2000 stream out of a DICOM object, as long as before, without comments.

    Lengths stay, so a stream can be cut into its fragments again. An empty one comes back as it is.

    Raises:
        FilmError: `NOT_READABLE` where the stream ends too early.
    """
    try:
        if stream.startswith(JPEG_START):
            zeroed = list(jpeg_metadata(stream))
        elif stream.startswith(J2K_START):
            zeroed = list(j2k_metadata(stream, 0))
        elif stream.startswith(JP2_START):
            zeroed = list(jp2_metadata(stream))
        else:
            return stream
    except EOFError:
        kind = "JPEG image" if stream.startswith(JPEG_START) else "JPEG 2000 image"
        raise cut_off(kind) from None
    if not any(any(stream[start:end]) for start, end in zeroed):
        return stream
    clean = bytearray(stream)
    for start, end in zeroed:
        clean[start:end] = bytes(end - start)
    return bytes(clean)
