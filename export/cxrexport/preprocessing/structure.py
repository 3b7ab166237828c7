"""Walks through PNG, JPEG and JPEG 2000: how large they say they are, and whether they are whole.

The decoders fill what a truncated file lacks with grey, without a word, and take memory for
whatever size a header claims. So the structure is checked before any of them sees the file.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from cxrexport.errors import MultiFrame, NotReadable
from cxrexport.preprocessing.jpeg_scans import bring_all

__all__ = [
    "DAMAGED",
    "JPEG_MAGIC",
    "PNG_MAGIC",
    "TRUNCATED",
    "Claim",
    "bare_jpeg",
    "jpeg2000_claim",
    "jpeg_claim",
    "png_claim",
]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
_JPEG2000_MAGIC, _START_OF_DATA = b"\xff\x4f\xff\x51", b"\xff\x93"

TRUNCATED = "the file ends before its image does; copy or export it again"
DAMAGED = "the image is damaged; copy or export it again"

# In a scan, FF is followed by 00 or RSTn (JPEG), or by anything below 80 (JPEG-LS).
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
    """

    width: int
    height: int
    bits: int
    samples: int
    payload: int
    process: int = 0


def png_claim(encoded: bytes) -> Claim:
    """Walk the chunks up to IEND and check each one's checksum.

    Raises:
        NotReadable: a chunk is cut off or its checksum is wrong.
        MultiFrame: it is an animation.
    """
    at, payload, header = len(PNG_MAGIC), 0, b""
    while True:
        length, kind = struct.unpack(">I4s", _exactly(encoded, at, 8))
        body = _exactly(encoded, at + 8, length)
        (checksum,) = struct.unpack(">I", _exactly(encoded, at + 8 + length, 4))
        if zlib.crc32(body, zlib.crc32(kind)) != checksum or (not header and kind != b"IHDR"):
            raise NotReadable(DAMAGED)
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            payload += length
        elif kind == b"acTL" and length == 8 and int.from_bytes(body[:4], "big") > 1:
            raise MultiFrame("it is an animation; send one frontal film as one image")
        elif kind == b"IEND":
            break
        at += 12 + length
    if len(header) != 13 or not payload:
        raise NotReadable(DAMAGED)
    width, height, bits, colour = struct.unpack_from(">IIBB", header)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    return _whole(Claim(width, height, bits, samples, payload))


def jpeg_claim(encoded: bytes) -> Claim:
    """Walk the segments of a JPEG (baseline, extended, lossless, JPEG-LS) up to its end marker.

    Raises:
        NotReadable: a segment, a scan or the end marker is missing, or it is arithmetic-coded.
    """
    frame, process, scans = b"", 0, []
    for marker, start, end in _jpeg_segments(encoded):
        if marker in _FRAME_HEADERS:
            if frame:  # which of two a decoder believes, nobody knows
                raise NotReadable(DAMAGED)
            frame, process = encoded[start + 4 : end], marker
        elif marker == _START_OF_SCAN:
            scans.append(_scan_header(encoded, start))
    if len(frame) < 6:
        raise NotReadable(DAMAGED)
    bits, height, width, samples = struct.unpack_from(">BHHB", frame)
    if bits > _MOST_JPEG_BITS:
        raise NotReadable(DAMAGED)
    if process in _ARITHMETIC:
        raise NotReadable("its JPEG is arithmetic-coded; export it again as PNG or ordinary JPEG")
    by_blocks = process in _SEQUENTIAL or process == _PROGRESSIVE
    if by_blocks and not bring_all(frame, scans, process == _PROGRESSIVE):
        raise NotReadable(TRUNCATED)
    return _whole(Claim(width, height, bits, samples, len(encoded), process))


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
    while True:
        marker, at = _next_marker(encoded, at)
        if marker == _END_OF_IMAGE:
            return
        if marker in _STANDALONE:
            continue
        start, length = at - 2, max(2, int.from_bytes(_exactly(encoded, at, 2), "big"))
        _exactly(encoded, at + 2, length - 2)
        at += length
        if marker == _START_OF_SCAN:
            end = _END_OF_SCAN.search(encoded, at)
            if end is None:
                raise NotReadable(TRUNCATED)
            at = end.start()
        yield marker, start, at


def jpeg2000_claim(encoded: bytes) -> Claim:
    """Read the SIZ segment of a JPEG 2000 codestream, and look for its end marker.

    Raises:
        NotReadable: it has no SIZ segment, or no end marker behind its data.
    """
    at = encoded.find(_JPEG2000_MAGIC)
    if at < 0:
        raise NotReadable(DAMAGED)
    # Source: ISO/IEC 15444-1, A.5.1: Xsiz, Ysiz, XOsiz, YOsiz follow Lsiz and Rsiz.
    right, bottom, left, top = struct.unpack(">4I", _exactly(encoded, at + 8, 16))
    samples, depth = struct.unpack(">HB", _exactly(encoded, at + 40, 3))
    # Within its data FF is followed by at most 8F (A.1). Behind its end some writers pad with FF.
    data = encoded.find(_START_OF_DATA, at)
    if data < 0 or encoded.find(b"\xff\xd9", data) < 0:
        raise NotReadable(TRUNCATED)
    bits = (depth & 0x7F) + 1
    return _whole(Claim(right - left, bottom - top, bits, samples, len(encoded)))


def _next_marker(encoded: bytes, at: int) -> tuple[int, int]:
    """Read the marker at `at`, past fill bytes; give it and the place behind it."""
    if _exactly(encoded, at, 1) != b"\xff":
        raise NotReadable(DAMAGED)
    while _exactly(encoded, at, 1) == b"\xff":
        at += 1
    return encoded[at], at + 1


def _exactly(encoded: bytes, at: int, length: int) -> bytes:
    part = encoded[at : at + length]
    if len(part) < length:
        raise NotReadable(TRUNCATED)
    return part


def _whole(claim: Claim) -> Claim:
    if min(claim[:5]) < 1:
        raise NotReadable(DAMAGED)
    return claim
