"""Streams that cost a decoder much: PNG, JPEG, JPEG 2000, built from their formats' own rules."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

__all__ = [
    "blank_jpeg",
    "boxes_jp2",
    "chunk",
    "decoy_jp2",
    "empty_jpeg2000",
    "jpeg_ls",
    "lossless_jpeg",
    "many_scans",
    "padded_jpeg",
    "palette_jp2",
    "png",
    "segments",
    "text_bomb",
]

# Source: PNG specification, 8.2 (Adam7): first column and row, and steps, of each pass.
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # within a scan FF 00 and restarts are none


def chunk(kind: bytes, body: bytes) -> bytes:
    """Write a chunk of a PNG with its checksum."""
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png(
    side_px: int, bits: int, colour: int, *, interlaced: bool = False, middle: bytes = b""
) -> bytes:
    """Write a square PNG whose rows are one another's predictions, as slow as rows get.

    Args:
        side_px: width and height.
        bits: of a sample.
        colour: PNG's colour type (0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha).
        interlaced: by Adam7.
        middle: chunks before the pixels.
    """
    pixel = {0: 1, 2: 3, 4: 2, 6: 4}[colour] * bits // 8
    pattern = np.random.default_rng(1).integers(0, 256, 4096, np.uint8)
    whole = ((0, 0, 1, 1),)
    data, checksum = [b"\x78\xda"], 1
    for x, y, across, down in _PASSES if interlaced else whole:
        width, height = -(-(side_px - x) // across), -(-(side_px - y) // down)
        row = np.resize(pattern, width * pixel).tobytes()
        # The first as it is, each following one by Paeth's predictor.
        for filtered, times in ((b"\0" + row, 1), (b"\4" + row, height - 1)):
            data += [_deflated(filtered * 64) * (times // 64), _deflated(filtered * (times % 64))]
            for _ in range(times):
                checksum = zlib.adler32(filtered, checksum)
    data.append(b"\x03\x00" + struct.pack(">I", checksum))  # an empty last block
    header = struct.pack(">IIBBBBB", side_px, side_px, bits, colour, 0, 0, interlaced)
    chunks = (chunk(b"IHDR", header), middle, chunk(b"IDAT", b"".join(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _deflated(data: bytes) -> bytes:
    """Deflate to blocks that can be repeated: none looks back at the one before it."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return pack.compress(data) + pack.flush(zlib.Z_FULL_FLUSH)


def text_bomb() -> bytes:
    """A thousand compressed texts of eight megabytes, which libpng keeps."""
    text = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(b"a" * 7_900_000), 9))
    return text * 1000


def segments(encoded: bytes) -> Iterator[bytes]:
    """Give each segment of a JPEG between its start and its end, a scan with its data."""
    at = 2
    while encoded[at + 1] != 0xD9:
        end = at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
        if encoded[at + 1] == 0xDA:
            found = _MARKER.search(encoded, end)
            end = found.start() if found else len(encoded)
        yield encoded[at:end]
        at = end


def _jpeg(pixels: np.ndarray, progressive: int) -> list[bytes]:
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1]
    return list(segments(encoded.tobytes()))


def many_scans(scans: int, side_px: int = 3200) -> bytes:
    """Write a progressive JPEG of grey squares in that many scans; valid and whole from 65 to 128.

    After the squares' own grey, each scan brings one coefficient of all blocks, or a bit of one:
    nothing, which a few bits say of 32,767 blocks at once, and a decoder visits each block.
    """
    blocks = -(-side_px // 8)
    grey = np.random.default_rng(1).integers(0, 256, (blocks, blocks), np.uint8)
    squares = np.kron(grey, np.ones((8, 8), np.uint8))[:side_px, :side_px]
    head: list[bytes] = []
    for segment in _jpeg(squares, 1):
        if (segment[1] == 0xDA and segment[7] > 0) or (segment[1] == 0xC4 and segment[4] >> 4):
            continue  # their coefficients other than grey, and tables for these
        head.append(segment)
    # Source: T.81 G.1.2.2. The code 0 is EOB14, and takes 14 bits more.
    table = b"\xff\xc4\x00\x14\x10\x01" + bytes(15) + b"\xe0"
    bits = ("0" + "1" * 13 + "0") * -(-(blocks**2) // 32_766)
    bits += "1" * (-len(bits) % 8)
    nothing = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    grey_scans = sum(segment[1] == 0xDA for segment in head)
    refined = scans - grey_scans - 63
    for number in range(scans - grey_scans):
        at = 1 + number % 63
        # All bits at once, or all but the last bit and then that.
        precision = 0x10 if number >= 63 else 0x01 if number < refined else 0x00
        head.append(b"\xff\xda\x00\x08\x01\x01\x00" + bytes([at, at, precision]) + nothing)
    first_scan = next(n for n, segment in enumerate(head) if segment[1] == 0xDA)
    return b"\xff\xd8" + b"".join((*head[:first_scan], table, *head[first_scan:])) + b"\xff\xd9"


def padded_jpeg(padding: bytes) -> bytes:
    """Write a small JPEG with this behind its first segment."""
    ramp = np.resize(np.arange(256, dtype=np.uint8), (256, 256))
    first, *rest = _jpeg(ramp, 0)
    return b"\xff\xd8" + first + padding + b"".join(rest) + b"\xff\xd9"


def blank_jpeg(side_px: int, components: int, progressive: int) -> bytes:
    """Write a JPEG of one grey in one or three components; each block takes a bit or two."""
    one_code = bytes([1]) + bytes(15) + b"\0"  # the code 0: no difference, or end of block
    frame = struct.pack(">BHHB", 8, side_px, side_px, components)
    for component in range(1, components + 1):
        frame += bytes([component, 0x11, 0])
    selected = b"".join(bytes([component, 0]) for component in range(1, components + 1))
    blocks = components * (-(-side_px // 8)) ** 2
    ends = b"\0\0\0" if progressive else b"\0\x3f\0"
    scan = bytes([components]) + selected + ends
    out = [b"\xff\xd8", _segment(0xDB, b"\0" + b"\1" * 64)]
    out += [_segment(0xC4, bytes([kind]) + one_code) for kind in (0x00, 0x10)]
    out += [_segment(0xC2 if progressive else 0xC0, frame), _segment(0xDA, scan)]
    out.append(bytes(-(-blocks * (1 if progressive else 2) // 8)))
    for component in range(1, components + 1) if progressive else ():
        out.append(_segment(0xDA, bytes([1, component, 0, 1, 0x3F, 0])))
        out.append(bytes(-(-blocks // components // 8)))
    return b"".join((*out, b"\xff\xd9"))


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def _bare_frame(process: int, size: tuple[int, int], bits: int) -> bytes:
    return _segment(process, struct.pack(">BHHB3B", bits, *size, 1, 1, 0x11, 0))


def jpeg_ls(size: tuple[int, int], data: bytes) -> bytes:
    """Write a JPEG-LS frame around this scan."""
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" + data
    return b"\xff\xd8" + _bare_frame(0xF7, size, 8) + scan + b"\xff\xd9"


def lossless_jpeg(size: tuple[int, int], scans: int = 1, bits: int = 8) -> bytes:
    """A lossless JPEG of one value: each difference is one bit."""
    table = b"\xff\xc4\x00\x14\x00\x01" + bytes(15) + b"\x00"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00" + bytes(size[0] * size[1] // 8 + 1)
    return b"\xff\xd8" + table + _bare_frame(0xC3, size, bits) + scan * scans + b"\xff\xd9"


def empty_jpeg2000(
    size: tuple[int, int],
    tile: tuple[int, int],
    *,
    parts: int = 1,
    layers: int = 1,
    levels: int = 0,
    block: tuple[int, int] = (4, 4),
    precincts: bytes = b"",
    components: int = 1,
    order: int = 0,
    high_throughput: bool = False,
    bits: int = 8,
    changes: int = 0,
    body: bytes = b"",
) -> bytes:
    """Write a codestream whose packets are empty. Source: ISO/IEC 15444-1, annex A.

    Args:
        size: rows, columns of the image.
        tile: of a tile.
        parts: tile-parts of each tile.
        layers: quality layers.
        levels: of decomposition.
        block: exponents of a code-block's width and height, less two.
        precincts: a byte for each resolution, exponents of height and width; none for 2^15.
        components: of the image.
        order: of progression, 0 to 4.
        high_throughput: as HTJ2K.
        bits: of a sample.
        changes: progression order changes in the main header.
        body: of each tile-part; one zero byte a packet by default, as far as they fit.
    """
    (rows, columns), (tile_rows, tile_columns) = size, tile
    siz = struct.pack(
        ">H8IH", 0x4000 * high_throughput, columns, rows, 0, 0, tile_columns, tile_rows, 0, 0,
        components,
    ) + bytes([bits - 1, 1, 1]) * components  # fmt: skip
    style = 0x40 * high_throughput
    cod = struct.pack(">BBHB5B", bool(precincts), order, layers, 0, levels, *block, style, 1)
    quantised = b"\x40" + b"\x40" * (3 * levels + 1)
    segments = [(0xFF51, siz), (0xFF52, cod + precincts), (0xFF5C, quantised)]
    if high_throughput:
        segments.insert(1, (0xFF50, struct.pack(">IH", 0x00020000, 0x0020)))
    if changes:
        one = struct.pack(">BBHBBB", 0, 0, layers, levels + 1, components & 0xFF, order)
        segments.append((0xFF5F, one * changes))
    out = [b"\xff\x4f"]
    out += [struct.pack(">HH", marker, 2 + len(b)) + b for marker, b in segments]
    tiles = -(-rows // tile_rows) * -(-columns // tile_columns)
    packets = body or bytes(min((levels + 1) * layers, 4096))
    for part in range(parts):
        for number in range(tiles):
            start = struct.pack(">HHHIBB", 0xFF90, 10, number, 14 + len(packets), part, parts)
            out.append(start + b"\xff\x93" + packets)
    return b"".join((*out, b"\xff\xd9"))


def _wrapped(codestream: bytes, *boxes: bytes) -> bytes:
    """Put a codestream into a JP2 file. Source: ISO/IEC 15444-1, annex I."""
    rows, columns = struct.unpack_from(">II", codestream, 12)
    header = (
        _box(b"ihdr", struct.pack(">IIHBBBB", columns, rows, 1, 7, 7, 0, 0))
        + _box(b"colr", b"\1\0\0" + struct.pack(">I", 17))
        + b"".join(boxes)
    )
    return (
        _box(b"jP  ", b"\r\n\x87\n")
        + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
        + _box(b"jp2h", header)
        + _box(b"jp2c", codestream)
    )


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def palette_jp2() -> bytes:
    """One component that a palette turns into 255."""
    palette = struct.pack(">HB", 2, 255) + b"\x07" * 255 + bytes(2 * 255)
    mapping = b"".join(struct.pack(">HBB", 0, 1, n) for n in range(255))
    return _wrapped(
        empty_jpeg2000((4096, 4096), (4096, 4096), body=bytes(20_000)),
        _box(b"pclr", palette),
        _box(b"cmap", mapping),
    )


def boxes_jp2(count: int) -> bytes:
    """Write a JP2 file with that many empty boxes before its image."""
    whole = _wrapped(empty_jpeg2000((256, 256), (256, 256), body=bytes(1000)))
    start = whole.index(b"\xff\x4f\xff\x51") - 8
    return whole[:start] + _box(b"free", b"") * count + whole[start:]


def decoy_jp2() -> bytes:
    """A harmless header in a box of its own before the one that a decoder reads."""
    harmless = empty_jpeg2000((1020, 1020), (1020, 1020))
    bomb = empty_jpeg2000((1020, 1020), (4, 4))
    whole = _wrapped(bomb)
    start = whole.index(b"\xff\x4f\xff\x51") - 8
    return whole[:start] + _box(b"uuid", bytes(16) + harmless) + whole[start:]
