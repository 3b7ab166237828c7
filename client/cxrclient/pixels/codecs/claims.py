"""What PNG and JPEG say of themselves: how large they are, and whether they are whole.

The decoders fill what a truncated file lacks with grey, without a word, and take memory for
whatever size a header claims. So the structure is checked before any of them sees the file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from cxrclient.errors import MultiFrame, NotReadable
from cxrclient.films import (
    FRAME_HEADERS,
    NEEDED,
    START_OF_SCAN,
    StreamDamaged,
    is_animation,
    jpeg_segments,
    png_chunks,
    refuse_more,
)
from cxrclient.pixels.codecs.jpeg_scans import bring_all
from cxrclient.pixels.limits import MAX_SCANNED_PIXELS

TRUNCATED = "the file ends before its image does; copy or export it again"
DAMAGED = "the image is damaged; copy or export it again"

_SEQUENTIAL, _PROGRESSIVE = frozenset({0xC0, 0xC1}), 0xC2
# An arithmetic decoder reads zeros behind the end of its data, as its standard demands, and so
# nobody can tell whether they are whole. No film is coded so.
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_MOST_JPEG_BITS = 16


class Claim(NamedTuple):
    """What an image says of itself.

    Attributes:
        width: columns.
        height: rows.
        bits: of a sample.
        samples: of a pixel.
        payload: bytes that hold the pixels.
        process: of a JPEG, the last byte of its frame header's marker (C0 for SOF0).
        scans: of a JPEG.
        channels: of a pixel as OpenCV decodes it, where these are not its samples.
    """

    width: int
    height: int
    bits: int
    samples: int
    payload: int
    process: int = 0
    scans: int = 0
    channels: int = 0


def png_claim(encoded: bytes) -> Claim:
    """Walk the chunks up to IEND and check each one's checksum.

    Raises:
        EOFError: a chunk is cut off.
        NotReadable: the checksum of one is wrong.
        MultiFrame: it is an animation.
        TooLarge: it has more chunks than any film.
    """
    payload, header, has_transparent = 0, b"", False
    for kind, start, end in png_chunks(encoded):
        body = memoryview(encoded)[start + 8 : end - 4]
        (checksum,) = struct.unpack_from(">I", encoded, end - 4)
        # Of two headers a decoder believes the first.
        if zlib.crc32(body, zlib.crc32(kind)) != checksum or (not header) != (kind == b"IHDR"):
            raise NotReadable(DAMAGED)
        if kind == b"IHDR":
            header = bytes(body)
        elif kind == b"IDAT":
            payload += len(body)
        elif kind == b"tRNS":
            has_transparent = True
        elif is_animation(encoded, kind, start, end):
            raise MultiFrame("it is an animation; send one frontal film as one image")
    if len(header) != 13 or not payload:
        raise NotReadable(DAMAGED)
    width, height, bits, colour = struct.unpack_from(">IIBB", header)
    samples, channels = {0: (1, 1), 2: (3, 3), 3: (1, 3), 4: (2, 4), 6: (4, 4)}.get(colour, (0, 0))
    channels += has_transparent and channels == 3
    return whole(Claim(width, height, bits, samples, payload, channels=channels))


def jpeg_claim(encoded: bytes) -> Claim:
    """Walk the segments of a JPEG (baseline, extended, lossless, JPEG-LS) up to its end marker.

    Raises:
        EOFError: a segment, a scan or the end marker is missing.
        NotReadable: it makes no sense, lacks part of its image, or is arithmetic-coded.
        TooLarge: it has more scans or segments than any film.
    """
    frame, process, scans = b"", 0, []
    for marker, start, end in _without_gaps(encoded):
        if marker in FRAME_HEADERS:
            if frame:  # which of two a decoder believes, nobody knows
                raise NotReadable(DAMAGED)
            frame, process = encoded[start + 4 : end], marker
        elif marker == START_OF_SCAN:
            scans.append(_scan_header(encoded, start))
    if len(frame) < 6:
        raise NotReadable(DAMAGED)
    bits, height, width, samples = struct.unpack_from(">BHHB", frame)
    if bits > _MOST_JPEG_BITS:
        raise NotReadable(DAMAGED)
    refuse_more(len(scans) * width * height, MAX_SCANNED_PIXELS, "pixels in all its scans")
    if process in _ARITHMETIC:
        raise NotReadable("its JPEG is arithmetic-coded; export it again as PNG or ordinary JPEG")
    by_blocks = process in _SEQUENTIAL or process == _PROGRESSIVE
    if by_blocks and not bring_all(frame, scans, process == _PROGRESSIVE):
        raise NotReadable(TRUNCATED)
    return whole(Claim(width, height, bits, samples, len(encoded), process, len(scans)))


def bare_jpeg(encoded: bytes) -> bytes:
    """Give the same JPEG with what decoding needs only: no application segments, no comments.

    Raises:
        EOFError: a segment or the end marker is missing.
    """
    parts, sequential = [encoded[:2]], False
    for marker, start, end in _without_gaps(encoded):
        sequential |= marker in _SEQUENTIAL
        if marker == START_OF_SCAN and sequential:
            # Some writers say in it what only a progressive scan can say. Decoders read past that,
            # but remark upon it, and on nothing that follows.
            behind = start + 4 + max(3, len(_scan_header(encoded, start)))
            parts += [encoded[start : behind - 3], b"\x00\x3f\x00", encoded[behind:end]]
        elif marker in NEEDED:
            parts.append(encoded[start:end])
    return b"".join((*parts, b"\xff\xd9"))


def _scan_header(encoded: bytes, start: int) -> bytes:
    """Give what the segment at `start` says, without the data of a scan."""
    return encoded[start + 4 : start + 2 + int.from_bytes(encoded[start + 2 : start + 4], "big")]


def _without_gaps(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """Give the segments as `jpeg_segments`, if nothing but fill bytes is between them."""
    after = 2
    for marker, start, end in jpeg_segments(encoded):
        if encoded[after:start].strip(b"\xff"):
            raise StreamDamaged
        yield marker, start, end
        after = end


def whole(claim: Claim) -> Claim:
    """Give the claim back.

    Raises:
        NotReadable: a size in it is 0.
    """
    if min(claim[:5]) < 1:
        raise NotReadable(DAMAGED)
    return claim
