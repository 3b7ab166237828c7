"""Streams that cost a decoder much: PNG, JPEG, JPEG 2000, built from their formats' own rules."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

__all__ = [
    "chunk",
    "decoy_jp2",
    "empty_jpeg2000",
    "huge_jpeg",
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
    """Write a square PNG whose rows are one another's predictions.

    Args:
        side_px: width and height.
        bits: of a sample.
        colour: PNG's colour type (0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha).
        interlaced: by Adam7.
        middle: chunks before the pixels.
    """
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    pixel = samples * bits // 8
    chance = np.random.default_rng(1)
    pack = zlib.compressobj(9)
    data = []
    for width, height in _passes(side_px) if interlaced else [(side_px, side_px)]:
        pattern = np.resize(chance.integers(0, 256, 4096, np.uint8), width * pixel).tobytes()
        # The first row as it is, each following one by Paeth's predictor: as slow as rows get.
        data.append(pack.compress(b"\0" + pattern))
        data += [pack.compress(b"\4" + pattern) for _ in range(height - 1)]
    data.append(pack.flush())
    header = struct.pack(">IIBBBBB", side_px, side_px, bits, colour, 0, 0, interlaced)
    chunks = (
        chunk(b"IHDR", header),
        middle,
        chunk(b"IDAT", b"".join(data)),
        chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _passes(side_px: int) -> list[tuple[int, int]]:
    return [
        (-(-(side_px - x) // across), -(-(side_px - y) // down)) for x, y, across, down in _PASSES
    ]


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
    """Write a progressive JPEG of grey squares in that many scans; valid up to 128 of them.

    After the squares' own grey, each scan brings one coefficient of all blocks, or a bit of one:
    nothing, which a few bits say of 32,767 blocks at once, and a decoder visits each block.
    """
    blocks = -(-side_px // 8)
    grey = np.random.default_rng(1).integers(0, 256, (blocks, blocks), np.uint8)
    squares = np.kron(grey, np.ones((8, 8), np.uint8))[:side_px, :side_px]
    head: list[bytes] = []
    for segment in _jpeg(squares, 1):
        if segment[1] == 0xDA and segment[7] > 0:
            continue  # their coefficients other than grey
        head.append(segment)
    # Source: T.81 G.1.2.2. The code 0 is EOB14, and takes 14 bits more.
    table = b"\xff\xc4\x00\x14\x10\x01" + bytes(15) + b"\xe0"
    bits = ("0" + "1" * 13 + "0") * -(-(blocks**2) // 32_766)
    bits += "1" * (-len(bits) % 8)
    nothing = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    grey_scans = sum(segment[1] == 0xDA for segment in head)
    for number in range(scans - grey_scans):
        at = 1 + number % 63
        precision = 0x01 if number < 63 else 0x10  # all but the last bit, then that
        head.append(b"\xff\xda\x00\x08\x01\x01\x00" + bytes([at, at, precision]) + nothing)
    first_scan = next(n for n, segment in enumerate(head) if segment[1] == 0xDA)
    return b"\xff\xd8" + b"".join((*head[:first_scan], table, *head[first_scan:])) + b"\xff\xd9"


def padded_jpeg(padding: bytes) -> bytes:
    """Write a small JPEG with this behind its first segment."""
    first, *rest = _jpeg(_slope(512), 0)
    return b"\xff\xd8" + first + padding + b"".join(rest) + b"\xff\xd9"


def huge_jpeg(progressive: int, side_px: int = 10_000) -> bytes:
    """Write a grey picture as a JPEG of three channels, none of them halved."""
    return cv2.imencode(
        ".jpg",
        cv2.merge([_slope(side_px)] * 3),
        [
            *(cv2.IMWRITE_JPEG_PROGRESSIVE, progressive),
            *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        ],
    )[1].tobytes()


def _slope(side_px: int) -> np.ndarray:
    ramp = np.linspace(0, 1, side_px, dtype=np.float32)
    return np.rint(100 + 80 * np.outer(ramp, ramp)).astype(np.uint8)


def _bare_frame(process: int, size: tuple[int, int], bits: int) -> bytes:
    rows, columns = size
    frame = struct.pack(">BHHB3B", bits, rows, columns, 1, 1, 0x11, 0)
    return struct.pack(">BBH", 0xFF, process, 2 + len(frame)) + frame


def jpeg_ls(size: tuple[int, int], data: bytes) -> bytes:
    """Write a JPEG-LS frame around this scan."""
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" + data
    return b"\xff\xd8" + _bare_frame(0xF7, size, 8) + scan + b"\xff\xd9"


def lossless_jpeg(size: tuple[int, int], scans: int = 1) -> bytes:
    """A lossless JPEG of one value: each difference is one bit."""
    table = b"\xff\xc4\x00\x14\x00\x01" + bytes(15) + b"\x00"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00" + bytes(size[0] * size[1] // 8 + 1)
    return b"\xff\xd8" + table + _bare_frame(0xC3, size, 8) + scan * scans + b"\xff\xd9"


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
        changes: progression order changes in the main header.
        body: of each tile-part; one zero byte a packet by default, as far as they fit.
    """
    (rows, columns), (tile_rows, tile_columns) = size, tile
    siz = struct.pack(
        ">H8IH", 0x4000 * high_throughput, columns, rows, 0, 0, tile_columns, tile_rows, 0, 0,
        components,
    ) + b"\x07\x01\x01" * components  # fmt: skip
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
        empty_jpeg2000((4096, 4096), (4096, 4096)), _box(b"pclr", palette), _box(b"cmap", mapping)
    )


def decoy_jp2() -> bytes:
    """A harmless header in a box of its own before the one that a decoder reads."""
    harmless = empty_jpeg2000((1020, 1020), (1020, 1020))
    bomb = empty_jpeg2000((1020, 1020), (4, 4))
    whole = _wrapped(bomb)
    start = whole.index(b"\xff\x4f\xff\x51") - 8
    return whole[:start] + _box(b"uuid", bytes(16) + harmless) + whole[start:]
