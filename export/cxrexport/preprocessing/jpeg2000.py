"""Walks through JPEG 2000 and HTJ2K: size, tiles, and how many pieces each tile is cut into.

OpenJPEG makes an object of each tile, precinct, code-block and packet before it has read one of
them, so a header of a hundred bytes can ask for gigabytes.

Source: ISO/IEC 15444-1, annexes A, B and I.
"""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from cxrexport.errors import Colour, NotReadable
from cxrexport.preprocessing.limits import (
    MAX_CODE_BLOCKS,
    MAX_JPEG2000_PIXELS,
    MAX_PACKETS,
    MAX_SEGMENTS,
    MAX_TILES,
    refuse_more,
)
from cxrexport.preprocessing.structure import DAMAGED, TRUNCATED, Claim, exactly, whole

__all__ = ["jpeg2000_claim", "refuse_many_pieces"]

_MAGIC = b"\xff\x4f\xff\x51"
_JP2_MAGICS = (b"\0\0\0\x0cjP  ", b"\r\n\x87\n")
_PALETTE = (b"pclr", b"cmap")
_END = b"\xff\xd9"
_SIZ, _COD, _COC, _SOT, _SOD = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93
# CAP, TLM, PLM, PLT, CPF, QCD, QCC, RGN, POC, PPM, PPT, CRG, COM. OpenJPEG looks into segments
# that it does not know for those that it does.
_KNOWN = {_SIZ, _COD, _COC} | {
    0xFF00 | n for n in (0x50, 0x55, 0x57, 0x58, 0x59, *range(0x5C, 0x62), 0x63, 0x64)
}
_MOST_LEVELS = 32


class _Size(NamedTuple):
    """The SIZ segment (A.5.1)."""

    right: int
    bottom: int
    left: int
    top: int
    tile_width: int
    tile_height: int
    tile_left: int
    tile_top: int
    samples: int


def jpeg2000_claim(encoded: bytes) -> Claim:
    """Read the SIZ segment of a codestream, which may be in a JP2 file.

    Raises:
        NotReadable: there is none.
        Colour: the JP2 file has a palette.
    """
    at = _codestream(encoded)
    size, depth = _size(encoded, at), exactly(encoded, at + 42, 1)[0]
    width, height = size.right - size.left, size.bottom - size.top
    return whole(Claim(width, height, (depth & 0x7F) + 1, size.samples, len(encoded)))


def refuse_many_pieces(encoded: bytes) -> None:
    """Walk the codestream to its end marker, and count what it is cut into.

    Raises:
        NotReadable: it is damaged, lacks a tile or a part of one, or ends before its end marker.
        TooLarge: it has more tiles, code-blocks or packets than any film.
    """
    at = _codestream(encoded)
    size = _size(encoded, at)
    width, height = size.right - size.left, size.bottom - size.top
    refuse_more(width * height, MAX_JPEG2000_PIXELS, "pixels in JPEG 2000")
    refuse_more(_tiles(size), MAX_TILES, "tiles")
    layers = 1
    come: Counter[int] = Counter()
    announced: dict[int, int] = {}
    for marker, body in _segments(encoded, at):
        if marker == _SOT and len(body) == 8:
            tile = int.from_bytes(body[:2], "big")
            come[tile] += 1
            announced[tile] = max(announced.get(tile, 0), body[7])  # 0 where it is not said (A.4.2)
        elif marker == _COD:
            layers = max(layers, int.from_bytes(body[2:4], "big"))
            _refuse_pieces(size, layers, body[:1] + body[5:])
        elif marker == _COC:
            _refuse_pieces(size, layers, body[1 if size.samples < 257 else 2 :])
    # OpenJPEG draws those that have come, and says nothing of the others.
    if len(come) < _tiles(size) or any(come[tile] < parts for tile, parts in announced.items()):
        raise NotReadable(TRUNCATED)


def _size(encoded: bytes, at: int) -> _Size:
    return _Size(*struct.unpack(">8IH", exactly(encoded, at + 8, 34)))


def _codestream(encoded: bytes) -> int:
    """Find the codestream that a decoder reads: in a JP2 file others may lie before it."""
    if encoded.startswith(_MAGIC):
        return 0
    if not encoded.startswith(_JP2_MAGICS):
        raise NotReadable(DAMAGED)
    for kind, start, end in _boxes(encoded, 0, len(encoded)):
        inner = _boxes(encoded, start, end) if kind == b"jp2h" else ()
        if not {kind, *(each for each, *_ in inner)}.isdisjoint(_PALETTE):
            # OpenJPEG makes up to 255 channels of the one, wherever the box is.
            raise Colour("its colours come from a palette; send the original radiograph")
        if kind == b"jp2c":
            if exactly(encoded, start, 4) != _MAGIC:
                break
            return start
    raise NotReadable(DAMAGED)


def _boxes(encoded: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give kind, start and end of the content of each box (I.4)."""
    for count in itertools.count(1):
        if at + 8 > end:
            return
        refuse_more(count, MAX_SEGMENTS, "boxes")
        length, kind = struct.unpack_from(">I4s", encoded, at)
        start = at + 8
        if length == 1:
            length, start = int.from_bytes(exactly(encoded, start, 8), "big"), at + 16
        after = end if length == 0 else at + length
        if not start <= after <= end:
            raise NotReadable(TRUNCATED if after > end else DAMAGED)
        yield kind, start, after
        at = after


def _segments(encoded: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Give marker and body of each segment, of the main header and of all tile-parts (A.2)."""
    at, tile_end, parts, last = start + 2, 0, 0, encoded.rfind(_END)
    for count in itertools.count(1):
        refuse_more(count, MAX_SEGMENTS + 2 * MAX_TILES, "segments")
        if encoded[at : at + 2] == _END:
            return
        marker, length = struct.unpack(">HH", exactly(encoded, at, 4))
        if marker == _SOD:
            if tile_end <= at:
                raise NotReadable(DAMAGED)
            at = tile_end
            continue
        body = exactly(encoded, at + 4, length - 2) if length >= 2 else b""
        if marker == _SOT:
            parts += 1
            refuse_more(parts, MAX_TILES, "parts of tiles")
            # Psot counts from here; 0 is for up to the end of the codestream (A.4.2).
            length_of_part = int.from_bytes(body[2:6], "big")
            tile_end = at + length_of_part if length_of_part else last
        elif marker not in _KNOWN or length < 2:
            raise NotReadable(DAMAGED)
        yield marker, body
        at += 2 + length


def _tiles(size: _Size) -> int:
    if not (size.tile_width and size.tile_height):
        raise NotReadable(DAMAGED)
    across = -(-(size.right - size.tile_left) // size.tile_width)
    return across * -(-(size.bottom - size.tile_top) // size.tile_height)


def _refuse_pieces(size: _Size, layers: int, style: bytes) -> None:
    """Count the code-blocks and packets that a coding style asks for (A.6.1, B.6, B.7, B.9).

    Args:
        size: of the image and of its tiles.
        layers: of quality.
        style: whether precincts are defined, and the parameters behind it.
    """
    if len(style) < 6 or style[1] > _MOST_LEVELS:
        raise NotReadable(DAMAGED)
    levels = style[1]
    precincts = style[6 : 7 + levels] if style[0] & 1 else b"\xff" * (levels + 1)
    if len(precincts) <= levels:
        raise NotReadable(DAMAGED)
    image = size.right - size.left, size.bottom - size.top
    tile = min(size.tile_width, image[0]), min(size.tile_height, image[1])
    packets = blocks = 0
    for resolution, areas in enumerate(precincts):
        in_bands = 1 if resolution else 0  # three bands of half its size, but for the lowest
        here, pieces = 1, 3 if resolution else 1
        for side, area, block in zip(tile, (areas & 15, areas >> 4), style[2:4], strict=True):
            reduced = -(-side >> levels - resolution)
            here *= -(-reduced >> area)
            cut = min((block & 15) + 2, max(area - in_bands, 0))
            pieces *= -(-reduced >> in_bands + cut)
        packets += here
        blocks += pieces
    refuse_more(_tiles(size) * blocks, MAX_CODE_BLOCKS, "code-blocks")
    refuse_more(_tiles(size) * packets * layers * size.samples, MAX_PACKETS, "packets")
