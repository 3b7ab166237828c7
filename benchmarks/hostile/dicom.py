"""DICOM objects that cost a reader much, written byte by byte. Source: PS3.5, PS3.10."""

from __future__ import annotations

import struct
import zlib
from functools import partial

import numpy as np

__all__ = [
    "DEFLATED",
    "EXPLICIT",
    "HTJ2K",
    "IMPLICIT",
    "JPEG_2000",
    "JPEG_BASELINE",
    "JPEG_LOSSLESS",
    "JPEG_LS",
    "LUT_DATA",
    "LUT_DESCRIPTOR",
    "MILLION",
    "MODALITY_LUT",
    "PER_FRAME_GROUPS",
    "SHARED_GROUPS",
    "VOI_LUT",
    "WINDOW_CENTER",
    "deflated_object",
    "dicom_object",
    "element",
    "encapsulated",
    "film_with",
    "grey_pixels",
    "in_groups",
    "item",
    "long_offsets",
    "long_value",
    "nested",
    "rle",
    "sequence",
    "small_header",
    "tables",
]

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
JPEG_BASELINE, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_2000, HTJ2K = (f"1.2.840.10008.1.2.4.{n}" for n in (80, 90, 201))

SHARED_GROUPS, PER_FRAME_GROUPS = 0x52009229, 0x52009230
MODALITY_LUT, VOI_LUT, WINDOW_CENTER = 0x00283000, 0x00283010, 0x00281050
LUT_DESCRIPTOR, LUT_DATA, PIXEL_DATA = 0x00283002, 0x00283006, 0x7FE00010
MILLION = 1_000_000
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = ("OB", "OW", "SQ", "UN", "UR", "UT")
_SEQUENCE_END, _ITEM_END = (struct.pack("<HHI", 0xFFFE, e, 0) for e in (0xE0DD, 0xE00D))


def element(
    tag: int, vr: str, value: bytes, length: int | None = None, explicit: bool = True
) -> bytes:
    """Write one data element, little endian. Source: DICOM PS3.5 7.1."""
    length = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack("<I", length) + value
    if vr in _LONG_VRS:
        return head + vr.encode() + struct.pack("<HI", 0, length) + value
    return head + vr.encode() + struct.pack("<H", length) + value


def item(body: bytes = b"", length: int | None = None) -> bytes:
    """Write one item of a sequence, or one fragment."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(body) if length is None else length) + body


def small_header(rows: int, columns: int, bits: int = 16, explicit: bool = True) -> bytes:
    """Write the header of a grey film up to its pixels' form."""
    write = partial(element, explicit=explicit)
    number = partial(struct.pack, "<H")
    return b"".join(
        (
            write(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.1.1\0"),
            write(0x00080060, "CS", b"DX"),
            write(0x00280002, "US", number(1)),
            write(0x00280004, "CS", b"MONOCHROME2 "),
            write(0x00280010, "US", number(rows)),
            write(0x00280011, "US", number(columns)),
            write(0x00280100, "US", number(bits)),
            write(0x00280101, "US", number(bits)),
            write(0x00280102, "US", number(bits - 1)),
            write(0x00280103, "US", number(0)),
        )
    )


def dicom_object(
    syntax: str,
    *elements: bytes,
    meta: bytes = b"",
    preamble: bool = True,
    group_length: int | None = None,
) -> bytes:
    """Put an object together.

    Args:
        syntax: transfer syntax.
        elements: of the data set, as they are written.
        meta: elements of the file meta information before the transfer syntax.
        preamble: whether it has one.
        group_length: what the file meta information says of its own length; None for the truth.
    """
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    rest = meta + element(0x00020010, "UI", uid)
    length = len(rest) if group_length is None else group_length
    head = element(0x00020000, "UL", struct.pack("<I", length)) + rest
    return b"".join((bytes(128) + b"DICM" if preamble else b"", head, *elements))


def encapsulated(syntax: str, *fragments: bytes, size: tuple[int, int], bits: int) -> bytes:
    """Put fragments of compressed pixels into an object; `size` is rows, columns."""
    items = b"".join(map(item, (b"", *fragments)))
    pixels = element(PIXEL_DATA, "OB", items + _SEQUENCE_END, _UNDEFINED)
    return dicom_object(syntax, small_header(*size, bits), pixels)


def grey_pixels(explicit: bool = True) -> bytes:
    """Write pixel data of 64×64, in 16 bits."""
    pixels = np.arange(64 * 64, dtype="<u2").tobytes()
    return element(PIXEL_DATA, "OW", pixels, explicit=explicit)


def film_with(*elements: bytes, explicit: bool = True) -> bytes:
    """Write an uncompressed film of 64×64 with these elements before its pixels."""
    syntax = EXPLICIT if explicit else IMPLICIT
    header = small_header(64, 64, explicit=explicit)
    return dicom_object(syntax, header, *elements, grey_pixels(explicit))


def sequence(tag: int, form: str, count: int = MILLION) -> bytes:
    """Write a sequence of empty items, with lengths `defined` or `undefined`."""
    if form == "defined":
        return element(tag, "SQ", item() * count)
    items = item(_ITEM_END, _UNDEFINED) * count
    return element(tag, "SQ", items + _SEQUENCE_END, _UNDEFINED)


def in_groups(tag: int, macro: int, inner: bytes) -> bytes:
    """Write functional groups of one item, with a macro of one item."""
    return element(tag, "SQ", item(element(macro, "SQ", item(inner))))


def nested(depth: int) -> bytes:
    """Write sequences of undefined length, each the only element of the one around it."""
    start = element(VOI_LUT, "SQ", item(b"", _UNDEFINED), _UNDEFINED)
    return start * depth + (_ITEM_END + _SEQUENCE_END) * depth


def tables(count: int, data: bytes, descriptor: tuple[int, int, int] = (0, 0, 16)) -> bytes:
    """Write a VOI LUT sequence of that many equal tables."""
    one = element(LUT_DESCRIPTOR, "US", struct.pack("<3H", *descriptor))
    return element(VOI_LUT, "SQ", item(one + element(LUT_DATA, "OW", data)) * count)


def deflated_object(
    size_bytes: int, *, tail: bool = True, element_bytes: int = 0, **form: object
) -> bytes:
    """Deflate an object that is mostly zeros.

    Args:
        size_bytes: that it inflates to.
        tail: whether the zeros follow the pixels (else they are a private element before them).
        element_bytes: of each private element; 0 for one.
        form: as `dicom_object` takes it.
    """
    parts = [_deflated(small_header(64, 64))]
    if tail:
        parts.append(_deflated(grey_pixels()))
    if element_bytes:
        one = element(0x00290010, "UN", bytes(element_bytes))
        many = one * (1 + (1 << 20) // len(one))
        parts.append(_deflated(many) * (size_bytes // len(many)))
    else:
        parts.append(_deflated(element(0x7FE10010, "OB", b"", size_bytes)))
        parts.append(_deflated(bytes(1 << 20)) * (size_bytes >> 20))
    return dicom_object(DEFLATED, *parts, b"\x03\x00", **form)  # type: ignore[arg-type]


def _deflated(data: bytes) -> bytes:
    """Deflate to blocks that can be repeated: none looks back at the one before it."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return pack.compress(data) + pack.flush(zlib.Z_FULL_FLUSH)


def rle(size: tuple[int, int], runs: bytes, bits: int = 8) -> bytes:
    """Write an object whose every RLE segment is made of these runs (PS3.5 annex G)."""
    width = bits // 8
    offsets = [64 + n * len(runs) for n in range(width)]
    head = struct.pack("<16I", width, *offsets, *[0] * (15 - width))
    return encapsulated(RLE, head + runs * width, size=size, bits=bits)


def long_value(tag: int, value: bytes) -> bytes:
    """Write an element as only implicit VR can: longer than 65,534 bytes whatever its VR."""
    return element(tag, "", value, explicit=False)


def long_offsets(stream: bytes, size: tuple[int, int], table_bytes: int) -> bytes:
    """Write an object whose offset table has an entry for each four bytes of that."""
    items = item(bytes(table_bytes)) + item(stream) + _SEQUENCE_END
    pixels = element(PIXEL_DATA, "OB", items, _UNDEFINED)
    return dicom_object(JPEG_BASELINE, small_header(*size, 8), pixels)
