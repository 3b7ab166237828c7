"""Walks through PNG and JPEG: how large they say they are, and whether they are whole.

The decoders fill what a truncated file lacks with grey, without a word, and take memory for
whatever size a header claims. So the structure is checked before any of them sees the file.
"""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from cxrexport.errors import MultiFrame, NotReadable
from cxrexport.preprocessing.jpeg_scans import bring_all
from cxrexport.preprocessing.limits import (
    MAX_CHUNKS,
    MAX_SCANNED_PIXELS,
    MAX_SCANS,
    MAX_SEGMENTS,
    refuse_more,
)

__all__ = [
    "DAMAGED",
    "JPEG_MAGIC",
    "PNG_MAGIC",
    "TRUNCATED",
    "Claim",
    "bare_jpeg",
    "bare_png",
    "exactly",
    "jpeg_claim",
    "png_claim",
    "whole",
]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

TRUNCATED = "the file ends before its image does; copy or export it again"
DAMAGED = "the image is damaged; copy or export it again"

# In a scan, FF is followed by 00 or RSTn (JPEG), or by anything below 80 (JPEG-LS).
_FILL_BYTES = re.compile(rb"\xff+")
_END_OF_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
# SOF0 to SOF15, less DHT, JPG and DAC, and JPEG-LS's SOF55.
_FRAME_HEADERS = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
_SEQUENTIAL, _PROGRESSIVE = frozenset({0xC0, 0xC1}), 0xC2
# An arithmetic decoder reads zeros behind the end of its data, as its standard demands, and so
# nobody can tell whether they are whole. No film is coded so.
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
# Huffman and quantisation tables, arithmetic conditioning, scans, lines, restarts, JPEG-LS's LSE.
_TABLES_AND_SCANS = frozenset({0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xF8})
_STANDALONE = frozenset(range(0xD0, 0xD8)) | {0x01}
_MOST_JPEG_BITS = 16
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


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
        NotReadable: a chunk is cut off or its checksum is wrong.
        MultiFrame: it is an animation.
        TooLarge: it has more chunks than any film.
    """
    payload, header, has_transparent = 0, b"", False
    for kind, start, end in _png_chunks(encoded):
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
        elif kind == b"acTL" and len(body) == 8 and int.from_bytes(body[:4], "big") > 1:
            raise MultiFrame("it is an animation; send one frontal film as one image")
    if len(header) != 13 or not payload:
        raise NotReadable(DAMAGED)
    width, height, bits, colour = struct.unpack_from(">IIBB", header)
    samples, channels = {0: (1, 1), 2: (3, 3), 3: (1, 3), 4: (2, 4), 6: (4, 4)}.get(colour, (0, 0))
    channels += has_transparent and channels == 3
    return whole(Claim(width, height, bits, samples, payload, channels=channels))


def bare_png(encoded: bytes) -> bytes:
    """Give the same PNG with what decoding needs only.

    libpng inflates each text and profile, and keeps a thousand of 8 MB.

    Raises:
        NotReadable: a chunk is cut off.
    """
    chunks = list(_png_chunks(encoded))
    if all(kind in _PNG_NEEDED for kind, _, _ in chunks):
        return encoded
    view = memoryview(encoded)
    needed = (view[start:end] for kind, start, end in chunks if kind in _PNG_NEEDED)
    return b"".join((PNG_MAGIC, *needed))


def _png_chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give kind, start and end of each chunk up to IEND."""
    at, count, kind = len(PNG_MAGIC), 0, b""
    while kind != b"IEND":
        count += 1
        refuse_more(count, MAX_CHUNKS, "chunks")
        length, kind = struct.unpack(">I4s", exactly(encoded, at, 8))
        end = at + 12 + length
        if end > len(encoded):
            raise NotReadable(TRUNCATED)
        yield kind, at, end
        at = end


def jpeg_claim(encoded: bytes) -> Claim:
    """Walk the segments of a JPEG (baseline, extended, lossless, JPEG-LS) up to its end marker.

    Raises:
        NotReadable: a segment, a scan or the end marker is missing, or it is arithmetic-coded.
        TooLarge: it has more scans or segments than any film.
    """
    frame, process, scans = b"", 0, []
    for marker, start, end in _jpeg_segments(encoded):
        if marker in _FRAME_HEADERS:
            if frame:  # which of two a decoder believes, nobody knows
                raise NotReadable(DAMAGED)
            frame, process = encoded[start + 4 : end], marker
        elif marker == _START_OF_SCAN:
            scans.append(_scan_header(encoded, start))
            refuse_more(len(scans), MAX_SCANS, "scans")
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
        NotReadable: a segment or the end marker is missing.
    """
    parts, sequential = [encoded[:2]], False
    for marker, start, end in _jpeg_segments(encoded):
        sequential |= marker in _SEQUENTIAL
        if marker == _START_OF_SCAN and sequential:
            # Some writers say in it what only a progressive scan can say. Decoders read past that,
            # but remark upon it, and on nothing that follows.
            behind = start + 4 + max(3, len(_scan_header(encoded, start)))
            parts += [encoded[start : behind - 3], b"\x00\x3f\x00", encoded[behind:end]]
        elif marker in _FRAME_HEADERS | _TABLES_AND_SCANS:
            parts.append(encoded[start:end])
    return b"".join((*parts, b"\xff\xd9"))


def _scan_header(encoded: bytes, start: int) -> bytes:
    """Give what the segment at `start` says, without the data of a scan."""
    return encoded[start + 4 : start + 2 + int.from_bytes(encoded[start + 2 : start + 4], "big")]


def _jpeg_segments(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """Give marker, start and end of each segment up to the end marker; a scan with its data."""
    at = 2
    for count in itertools.count(1):
        refuse_more(count, MAX_SEGMENTS, "segments")
        marker, at = _next_marker(encoded, at)
        if marker == _END_OF_IMAGE:
            return
        if marker in _STANDALONE:
            continue
        start, length = at - 2, max(2, int.from_bytes(exactly(encoded, at, 2), "big"))
        exactly(encoded, at + 2, length - 2)
        at += length
        if marker == _START_OF_SCAN:
            end = _END_OF_SCAN.search(encoded, at)
            if end is None:
                raise NotReadable(TRUNCATED)
            at = end.start()
        yield marker, start, at


def _next_marker(encoded: bytes, at: int) -> tuple[int, int]:
    """Read the marker at `at`, past fill bytes; give it and the place behind it."""
    fill = _FILL_BYTES.match(encoded, at)
    if fill is None:
        raise NotReadable(DAMAGED if at < len(encoded) else TRUNCATED)
    return exactly(encoded, fill.end(), 1)[0], fill.end() + 1


def exactly(encoded: bytes, at: int, length: int) -> bytes:
    """Give `length` bytes from `at`.

    Raises:
        NotReadable: there are not as many.
    """
    part = encoded[at : at + length]
    if len(part) < length:
        raise NotReadable(TRUNCATED)
    return part


def whole(claim: Claim) -> Claim:
    """Give the claim back.

    Raises:
        NotReadable: a size in it is 0.
    """
    if min(claim[:5]) < 1:
        raise NotReadable(DAMAGED)
    return claim
