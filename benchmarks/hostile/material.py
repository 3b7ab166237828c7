"""Films that somebody made to hurt: small files that cost memory or time, as no film does."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from hostile.dicom import (
    HTJ2K,
    IMPLICIT,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LS,
    LUT_DATA,
    LUT_DESCRIPTOR,
    MILLION,
    MODALITY_LUT,
    PER_FRAME_GROUPS,
    SHARED_GROUPS,
    VOI_LUT,
    WINDOW_CENTER,
    deflated_object,
    dicom_object,
    element,
    encapsulated,
    film_with,
    grey_pixels,
    in_groups,
    item,
    long_offsets,
    long_value,
    nested,
    rle,
    sequence,
    small_header,
    tables,
)
from hostile.images import (
    blank_jpeg,
    boxes_jp2,
    chunk,
    decoy_jp2,
    empty_jpeg2000,
    jpeg_ls,
    lossless_jpeg,
    many_scans,
    padded_jpeg,
    palette_jp2,
    png,
    text_bomb,
)

__all__ = ["HOSTILE", "Hostile"]


class Hostile(NamedTuple):
    """One of them.

    Attributes:
        make: gives the file.
        server: the code with which the server refuses the file as it is; `ok` where what hurts is
            passed over.
        client: the client's; `ok` where it sends what it took out, which the server then refuses
            by `server`, or finds no fault in any more (`CLEANED`).
    """

    make: Callable[[], bytes]
    server: str
    client: str


CLEANED = "cleaned"
_LARGE, _DAMAGED, _COLOUR, _FLAT, _OK = "TOO_LARGE", "NOT_READABLE", "COLOUR", "CONSTANT", "ok"
_HUGE = (10_000, 10_000)
_LARGEST_CODED = (7_700, 7_700)  # in 16 bits


def _both(make: Callable[[], bytes], code: str = _LARGE) -> Hostile:
    return Hostile(make, code, code)


def _at_server(make: Callable[[], bytes], code: str = _LARGE) -> Hostile:
    return Hostile(make, code, _OK)


def _with(part: Callable[[], bytes], explicit: bool = True) -> Callable[[], bytes]:
    return lambda: film_with(part(), explicit=explicit)


def _in_dicom(
    syntax: str, stream: Callable[[], bytes], size: tuple[int, int]
) -> Callable[[], bytes]:
    return lambda: encapsulated(syntax, stream(), size=size, bits=8)


def _jpeg2000(
    size: tuple[int, int], tile: tuple[int, int], syntax: str = JPEG_2000, **form: object
) -> Callable[[], bytes]:
    return _in_dicom(syntax, partial(empty_jpeg2000, size, tile, **form), size)  # type: ignore[arg-type]


def _sequences() -> Iterator[tuple[str, Hostile]]:
    tags = {
        "VOI LUT sequence": VOI_LUT,
        "modality LUT sequence": MODALITY_LUT,
        "functional groups": SHARED_GROUPS,
        "groups of frames": PER_FRAME_GROUPS,
        "a sequence nobody reads": 0x00400275,
    }
    for name, tag in tags.items():
        for form in ("defined", "undefined"):
            if name.endswith("reads") and form == "defined":
                continue  # its length says how far to go
            yield (
                f"{name}, a million items, {form} length",
                _both(_with(partial(sequence, tag, form))),
            )


def _implicit_table(size_bytes: int) -> bytes:
    body = long_value(LUT_DESCRIPTOR, struct.pack("<3H", 0, 0, 16))
    return item(body + long_value(LUT_DATA, bytes(size_bytes)))


def _long_patient() -> bytes:
    header = small_header(64, 64, explicit=False)
    patient = long_value(0x00100020, b"A" * (128 << 20))
    return dicom_object(IMPLICIT, header[:46], patient, header[46:], grey_pixels(False))


_GIGABYTES = 2 << 30
_WHOLE = bytes(100_000)  # as many bytes as pixels of this number claim at least


def _lossless_16_bits(size: tuple[int, int]) -> bytes:
    return encapsulated(JPEG_LOSSLESS, lossless_jpeg(size, bits=16), size=size, bits=16)


def _jpeg2000_16_bits(size: tuple[int, int]) -> bytes:
    stream = empty_jpeg2000(size, size, levels=5, block=(4, 4), bits=16, body=_WHOLE)
    return encapsulated(JPEG_2000, stream, size=size, bits=16)


_JPEG = {
    **{
        f"progressive JPEG, {n:,} scans": _both(partial(many_scans, n))
        for n in (2_000, 20_000, 60_000)
    },
    "progressive JPEG, 100 scans, 6,400 x 6,400": _at_server(partial(many_scans, 100, 6_400)),
    "progressive JPEG, 20,000 scans, in DICOM": _both(
        _in_dicom(JPEG_BASELINE, partial(many_scans, 20_000), (3200, 3200))
    ),
    "lossless JPEG, 20,000 scans": _both(partial(lossless_jpeg, (64, 64), 20_000)),
    "JPEG, a million comments": _both(lambda: padded_jpeg(b"\xff\xfe\0\2" * MILLION)),
    "JPEG, a million restart intervals": _both(lambda: padded_jpeg(b"\xff\xdd\0\4\0\0" * MILLION)),
    "JPEG, a million restart markers": _both(lambda: padded_jpeg(b"\xff\xd0" * MILLION)),
    "JPEG, 100 kB of fill bytes": Hostile(
        lambda: padded_jpeg(b"\xff" * 100_000 + b"\0"), _DAMAGED, CLEANED
    ),
    "JPEG, 32 MB of fill bytes": Hostile(lambda: padded_jpeg(b"\xff" * (32 << 20)), _OK, CLEANED),
    "JPEG, RGB, 10,000 x 10,000": _at_server(partial(blank_jpeg, 10_000, 3, 0)),
    "JPEG, RGB, 10,000 x 10,000, progressive": _at_server(partial(blank_jpeg, 10_000, 3, 1)),
    "JPEG, RGB, 7,000 x 7,000, progressive": _at_server(partial(blank_jpeg, 7_000, 3, 1)),
    "JPEG, grey of one value, 10,000 x 10,000, progressive": _at_server(
        partial(blank_jpeg, 10_000, 1, 1), _FLAT
    ),
    "JPEG, RGB of one value, 8,100 x 8,100": _at_server(partial(blank_jpeg, 8_100, 3, 0), _FLAT),
    "JPEG, RGB of one value, 6,600 x 6,600, progressive": _at_server(
        partial(blank_jpeg, 6_600, 3, 1), _FLAT
    ),
    "JPEG-LS, 10,000 x 10,000, cut": _at_server(
        _in_dicom(JPEG_LS, partial(jpeg_ls, _HUGE, b"\x7f" * 100_000), _HUGE), _DAMAGED
    ),
    "lossless JPEG of one value, 16 bits, 10,000 x 10,000": _at_server(
        partial(_lossless_16_bits, _HUGE)
    ),
    "lossless JPEG of one value, 16 bits, 7,700 x 7,700": _at_server(
        partial(_lossless_16_bits, _LARGEST_CODED), _FLAT
    ),
    "lossless JPEG of one value, 10,000 x 10,000": _at_server(
        _in_dicom(JPEG_LOSSLESS, partial(lossless_jpeg, _HUGE), _HUGE), _FLAT
    ),
}

_PNG = {
    "PNG, 16-bit RGBA, 10,000 x 10,000": _at_server(partial(png, 10_000, 16, 6)),
    "PNG, 16-bit RGBA, 10,000 x 10,000, interlaced": _at_server(
        partial(png, 10_000, 16, 6, interlaced=True)
    ),
    "PNG, 16-bit grey and alpha, 10,000 x 10,000": _at_server(partial(png, 10_000, 16, 4)),
    "PNG, 8-bit RGB, 197 MB of samples": _at_server(partial(png, 8_100, 8, 2), _COLOUR),
    "PNG, 16-bit RGBA, 197 MB of samples": _at_server(partial(png, 4_960, 16, 6), _COLOUR),
    "PNG, a million chunks": _both(
        lambda: png(64, 8, 0, middle=chunk(b"tEXt", b"note\0") * MILLION)
    ),
    "PNG, a thousand texts of 8 MB": Hostile(
        lambda: png(64, 8, 0, middle=text_bomb()), _OK, CLEANED
    ),
}

_DICOM = {
    **dict(_sequences()),
    "VOI LUT sequence, a million items, in a functional group": _both(
        _with(lambda: in_groups(SHARED_GROUPS, 0x00289132, sequence(VOI_LUT, "defined")))
    ),
    "sequences nested 100,000 deep": _both(_with(partial(nested, 100_000)), _DAMAGED),
    "a million private elements": _both(_with(lambda: element(0x00290010, "LO", b"") * MILLION)),
    "a window of 100,000 values": _both(
        _with(lambda: long_value(WINDOW_CENTER, b"1\\" * 100_000), False)
    ),
    "a window of 20 million values": _both(
        _with(lambda: long_value(WINDOW_CENTER, b"1\\" * 20_000_000), False)
    ),
    "a patient's number of 128 MB": Hostile(_long_patient, _OK, _LARGE),
    "a look-up table of 64 MB": _both(_with(partial(tables, 1, bytes(64 << 20)))),
    "a look-up table of 64 MB, implicit VR": _both(
        _with(lambda: long_value(VOI_LUT, _implicit_table(64 << 20)), False)
    ),
    "a million fragments": _both(
        lambda: encapsulated(JPEG_BASELINE, *[b""] * MILLION, size=(64, 64), bits=8)
    ),
    "a million streams in fragments": _both(
        lambda: encapsulated(JPEG_BASELINE, *[b"\xff\xd8\xff\xd9"] * MILLION, size=_HUGE, bits=8)
    ),
    "an offset table of 64 MB": Hostile(
        lambda: long_offsets(many_scans(70, 64), (64, 64), 64 << 20), _LARGE, CLEANED
    ),
    "RLE of one value, 10,000 x 10,000": _at_server(
        lambda: rle(_HUGE, b"\x81\x07" * 781_250, 16), _FLAT
    ),
    "RLE, ten million bytes of nothing": Hostile(
        lambda: rle((64, 64), b"\x80" * 10_000_000 + b"\x81\x07" * 32), _FLAT, _DAMAGED
    ),
}

_DEFLATED = {
    "deflated, 2 GB": _both(partial(deflated_object, _GIGABYTES)),
    "deflated, 2 GB, its UID behind 2 kB": _both(
        partial(deflated_object, _GIGABYTES, meta=element(0x00020001, "OB", bytes(2048)))
    ),
    "deflated, 2 GB, false group length": _both(
        partial(deflated_object, _GIGABYTES, group_length=4)
    ),
    "deflated, 2 GB, no preamble": _both(partial(deflated_object, _GIGABYTES, preamble=False)),
    "deflated, 200 MB of small elements": _both(
        partial(deflated_object, 200 << 20, tail=False, element_bytes=2)
    ),
}

_JPEG_2000 = {
    "JPEG 2000, 65,025 empty tiles": _both(_jpeg2000((1020, 1020), (4, 4))),
    "HTJ2K, 65,025 empty tiles": _both(
        _jpeg2000((1020, 1020), (4, 4), HTJ2K, high_throughput=True)
    ),
    "JPEG 2000, 65,025 tiles, behind a decoy": _both(_in_dicom(JPEG_2000, decoy_jp2, (1020, 1020))),
    "JPEG 2000, a million boxes": _both(
        _in_dicom(JPEG_2000, partial(boxes_jp2, MILLION), (256, 256))
    ),
    "JPEG 2000, 16,384 tiles of 40 parts": _both(_jpeg2000((1024, 1024), (8, 8), parts=40)),
    "JPEG 2000, 16,000 components": _at_server(
        _jpeg2000((1024, 1024), (1024, 1024), components=16_000), _COLOUR
    ),
    "JPEG 2000, a palette of 255 colours": _at_server(
        _in_dicom(JPEG_2000, palette_jp2, (4096, 4096)), _COLOUR
    ),
    "JPEG 2000, 65,535 layers": _at_server(
        _jpeg2000((2048, 2048), (128, 128), layers=65_535, levels=5)
    ),
    "JPEG 2000, code-blocks of 4 x 4": _at_server(
        _jpeg2000((8192, 8192), (8192, 8192), levels=5, block=(0, 0), body=_WHOLE)
    ),
    "JPEG 2000, precincts of 2 x 2": _at_server(
        _jpeg2000((4096, 4096), (4096, 4096), levels=1, precincts=b"\x11\x11", body=_WHOLE)
    ),
    "JPEG 2000, precincts by position, 32 levels": _at_server(
        _jpeg2000(
            *((4096, 4096), (4096, 4096)),
            levels=32,
            precincts=b"\x22" * 33,
            order=2,
            block=(0, 0),
            layers=100,
            changes=1,
            body=_WHOLE,
        )
    ),
    "JPEG 2000 of one value, 10,000 x 10,000": _at_server(
        _jpeg2000(_HUGE, _HUGE, levels=5, block=(4, 4), body=_WHOLE)
    ),
    "JPEG 2000 of one value, 16 bits, 10,000 x 10,000": _at_server(
        partial(_jpeg2000_16_bits, _HUGE)
    ),
    "JPEG 2000 of one value, 16 bits, 5,600 x 5,600": _at_server(
        partial(_jpeg2000_16_bits, (5_600, 5_600)), _FLAT
    ),
    "HTJ2K of one value, 10,000 x 10,000": _at_server(
        _jpeg2000(_HUGE, _HUGE, HTJ2K, levels=5, block=(4, 4), high_throughput=True, body=_WHOLE)
    ),
}

HOSTILE: dict[str, Hostile] = {**_JPEG, **_PNG, **_DICOM, **_DEFLATED, **_JPEG_2000}
