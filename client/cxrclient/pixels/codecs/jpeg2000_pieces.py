"""Walks through JPEG 2000 and HTJ2K: size, tiles, and how many pieces each tile is cut into.

OpenJPEG makes an object of each tile, precinct, code-block and packet before it has read one of
them, so a header of a hundred bytes can ask for gigabytes.

Source: ISO/IEC 15444-1, annexes A, B and I.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import NamedTuple

from cxrclient.errors import Colour, NotReadable
from cxrclient.films import (
    J2K_START,
    JP2_START,
    MAX_TILES,
    START_OF_TILE,
    depth_byte,
    j2k_segments,
    jp2_boxes,
    refuse_more,
)
from cxrclient.pixels.codecs.claims import DAMAGED, TRUNCATED, Claim, whole
from cxrclient.pixels.limits import MAX_CODE_BLOCKS, MAX_JPEG2000_PIXELS, MAX_PACKETS

_OLD_JP2_START = b"\r\n\x87\n"
_PALETTE = (b"pclr", b"cmap")
_SIZ, _COD, _COC = 0xFF51, 0xFF52, 0xFF53
# CAP, TLM, PLM, PLT, CPF, QCD, QCC, RGN, POC, PPM, PPT, CRG, COM. OpenJPEG looks into segments
# that it does not know for those that it does. The last three are of tile-parts: SOT, SOD, EOC.
_KNOWN = {_SIZ, _COD, _COC} | {
    0xFF00 | n
    for n in (0x50, 0x55, 0x57, 0x58, 0x59, *range(0x5C, 0x62), 0x63, 0x64, 0x90, 0x93, 0xD9)
}
_MOST_LEVELS = 32
_READ_BYTES = 64  # of a segment; a coding style has 45 at most


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
        EOFError: it ends before.
        NotReadable: there is none.
        Colour: the JP2 file has a palette.
    """
    at = _codestream(encoded)
    size, depth = _size(encoded, at), depth_byte(encoded, at)
    width, height = size.right - size.left, size.bottom - size.top
    return whole(Claim(width, height, (depth & 0x7F) + 1, size.samples, len(encoded)))


def refuse_many_pieces(encoded: bytes) -> None:
    """Walk the codestream to its end marker, and count what it is cut into.

    Raises:
        EOFError: it ends before its end marker.
        NotReadable: it is damaged, or lacks a tile or a part of one.
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
    for marker, start, end in j2k_segments(encoded, at):
        if marker not in _KNOWN:
            raise NotReadable(DAMAGED)
        body = encoded[start + 4 : min(end, start + _READ_BYTES)]
        if marker == START_OF_TILE and len(body) == 8:
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
    if at + 42 > len(encoded):
        raise EOFError
    return _Size(*struct.unpack_from(">8IH", encoded, at + 8))


def _codestream(encoded: bytes) -> int:
    """Find the codestream that a decoder reads: in a JP2 file others may lie before it."""
    if encoded.startswith(J2K_START):
        return 0
    if not encoded.startswith((JP2_START, _OLD_JP2_START)):
        raise NotReadable(DAMAGED)
    for kind, start, end in jp2_boxes(encoded, 0, len(encoded)):
        inner = jp2_boxes(encoded, start, end) if kind == b"jp2h" else ()
        if not {kind, *(each for each, *_ in inner)}.isdisjoint(_PALETTE):
            # OpenJPEG makes up to 255 channels of the one, wherever the box is.
            raise Colour("its colours come from a palette; send the original radiograph")
        if kind == b"jp2c":
            if not encoded.startswith(J2K_START, start):
                break
            return start
    raise NotReadable(DAMAGED)


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
