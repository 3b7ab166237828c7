"""DICOM's file format: where the elements of a file are, and how an element is written.

Source: DICOM PS3.5 (encoding) and PS3.10 (file format). What may travel is decided in `stripping`.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator, Set
from io import BytesIO
from typing import Any, NamedTuple

from cxrclient.errors import NotReadable
from cxrclient.films.codestreams.metadata import STREAM_STARTS, stream_bits, zero_metadata
from cxrclient.films.dicom_pixels import PixelLayout, only_samples
from cxrclient.films.dicom_stream import BoundedReader, inflated
from cxrclient.films.functional_groups import refuse_several_frames
from cxrclient.films.kinds import data_set_start, starts_big_endian
from cxrclient.films.limits import MAX_INFLATED_BYTES, MAX_READS, refuse_more
from cxrclient.films.rle import only_rle_samples
from cxrclient.films.transfer_syntaxes import (
    BIG_ENDIAN,
    DEFLATED,
    ENCAPSULATED,
    EXPLICIT,
    IMPLICIT,
    RLE,
)

PIXEL_DATA = 0x7FE00010
_TRANSFER_SYNTAX_UID = 0x00020010
_UNDEFINED = 0xFFFFFFFF
_WIDE_VRS = frozenset({"OB", "OW", "SQ"})  # of those we write; their length takes four bytes
# Of all; source: PS3.5 7.1.2.
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())


class Encoding(NamedTuple):
    """How data elements are written: byte order `<` or `>`, and whether the VR is in the file."""

    order: str
    explicit: bool


class DicomFile(NamedTuple):
    """A file, opened: its data set starts at `start` of `data` (inflated, if it was deflated)."""

    data: bytes
    start: int
    syntax: str
    encoding: Encoding

    @property
    def written(self) -> Encoding:
        """How the payload is written: as the transfer syntax says, whatever the file does."""
        return Encoding(self.encoding.order, explicit=self.syntax != IMPLICIT)


def open_file(data: bytes) -> DicomFile:
    """Find the data set and its encoding.

    Raises:
        TooLarge: a deflated file inflates beyond any film.
        struct.error, EOFError, zlib.error: the file ends early, or is damaged.
    """
    meta, start = _read_file_meta(data)
    syntax = meta.get(_TRANSFER_SYNTAX_UID, b"").decode("latin-1").strip("\0 ")
    if syntax == DEFLATED:
        data, start, syntax = inflated(data, start, MAX_INFLATED_BYTES), 0, EXPLICIT
    if syntax == "" and starts_big_endian(data[start:]):
        syntax = BIG_ENDIAN
    # By its bytes the file shows whether VRs are written; some archives' UIDs say otherwise.
    vr = data[start + 4 : start + 6]
    explicit = vr.isalpha() and vr.isupper()
    if syntax in ("", IMPLICIT, EXPLICIT):
        syntax = EXPLICIT if explicit else IMPLICIT
    return DicomFile(data, start, syntax, Encoding(">" if syntax == BIG_ENDIAN else "<", explicit))


def refuse_other_syntaxes(file: DicomFile) -> None:
    """Raise NotReadable for a transfer syntax that holds no single film."""
    if file.syntax not in ENCAPSULATED | {IMPLICIT, EXPLICIT, BIG_ENDIAN}:
        # What is no UID stays unsaid, for damage may have put anything there.
        shown = f"{file.syntax} " if re.fullmatch(r"[0-9.]{1,64}", file.syntax) else ""
        raise NotReadable(
            f"The transfer syntax {shown}is not one for radiographs. Export the film as "
            "Explicit VR Little Endian, JPEG or JPEG 2000."
        )


def _read_file_meta(data: bytes) -> tuple[dict[int, bytes], int]:
    """Elements of group 0002, always explicit little endian, and where they end."""
    start = data_set_start(data)
    meta: dict[int, bytes] = {}
    count = 0
    while data[start : start + 2] == b"\x02\x00":
        count += 1
        refuse_more(count, MAX_READS, "elements")
        element, vr, length = struct.unpack_from("<H2sH", data, start + 2)
        value = start + 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<I", data, value)
            value += 4
        meta[0x00020000 | element] = data[value : value + length]
        start = value + length
    return meta, start


def raw_elements(file: DicomFile, tags: Set[int]) -> dict[int, Any]:
    """The wanted elements, undecoded; under `PIXEL_DATA` the offset of the pixels' element.

    Raises:
        FilmError: the file has more elements than any film's, or several frames.
        EOFError: the file ends within an element.
    """
    from cxrclient.films.pydicom_parts import data_element_generator

    stream = BoundedReader(BytesIO(file.data))
    stream.seek(file.start)
    generator = data_element_generator(
        stream,
        is_implicit_VR=not file.encoding.explicit,
        is_little_endian=file.encoding.order == "<",
        # pydicom compares its tags in Python; asked of every element, it shows.
        stop_when=lambda tag, _vr, _length: int.__ge__(tag, PIXEL_DATA),
        specific_tags=list(tags),
    )
    elements: dict[int, Any] = {}
    try:
        elements.update((int(element.tag), element) for element in generator)
    except Exception:
        refuse_several_frames(elements)  # a thousand frames have items by the thousand
        stream.refuse_spent()
        raise
    position = stream.tell()
    if position > len(file.data):
        raise EOFError
    pixels = struct.pack(file.encoding.order + "HH", PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF)
    if file.data.startswith(pixels, position):
        elements[PIXEL_DATA] = position
    return elements


def ends_early(file: DicomFile) -> bool:
    """Whether a file without pixels ends within an element, and not after one.

    Asked of these alone: a film's end is found by its pixels.
    """
    from cxrclient.films.pydicom_parts import data_element_generator

    stream = BoundedReader(BytesIO(file.data))
    stream.seek(file.start)
    elements = data_element_generator(
        stream,
        is_implicit_VR=not file.encoding.explicit,
        is_little_endian=file.encoding.order == "<",
        defer_size=0,
    )
    end = file.start
    for element in elements:
        length = getattr(element, "length", _UNDEFINED)  # sequences have been read to their end
        end = stream.tell() if length == _UNDEFINED else element.value_tell + length
    return end != len(file.data)


def file_meta(syntax: str) -> bytes:
    """File meta information with the transfer syntax, and no UID that identifies."""
    encoding = Encoding("<", explicit=True)
    uid = syntax.encode()
    meta = write_element(0x00020001, "OB", b"\0\1", encoding)
    meta += write_element(_TRANSFER_SYNTAX_UID, "UI", uid + b"\0" * (len(uid) % 2), encoding)
    return write_element(0x00020000, "UL", struct.pack("<I", len(meta)), encoding) + meta


def write_element(
    tag: int, vr: str, value: bytes, encoding: Encoding, length: int | None = None
) -> bytes:
    """One data element. Source: DICOM PS3.5 section 7.1.

    Args:
        tag: group and element.
        vr: its value representation.
        value: encoded, of even length.
        encoding: of the file that is written.
        length: what the element says, where the value follows apart.
    """
    order, explicit = encoding
    length = len(value) if length is None else length
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack(order + "I", length) + value
    if vr in _WIDE_VRS:
        return head + vr.encode() + struct.pack(order + "HI", 0, length) + value
    return head + vr.encode() + struct.pack(order + "H", length) + value


def pixel_value(file: DicomFile, start: int) -> tuple[int, int | None]:
    """Where the value of the element of the pixels starts, and how long it is said to be.

    Args:
        file: holds the element.
        start: where the element starts.

    Returns:
        Place and bytes; None for the bytes where the value is made of fragments.
    """
    value = start + (12 if file.encoding.explicit else 8)
    (length,) = struct.unpack_from(file.encoding.order + "I", file.data, value - 4)
    return value, None if length == _UNDEFINED else length


def pixel_data(file: DicomFile, start: int, layout: PixelLayout) -> list[bytes | memoryview]:
    """The pixel element with samples only: no comments in streams, no bits that are no sample's.

    Raises:
        EOFError: the file ends before the pixels do.
    """
    data, (order, explicit) = file.data, file.encoding
    vr = "OB" if explicit and data[start + 4 : start + 6] == b"OB" else "OW"
    value, length = pixel_value(file, start)
    if length is None:
        head = write_element(PIXEL_DATA, "OB", b"", file.written, _UNDEFINED)
        return [head, *_encapsulated(file, value, layout)]
    if value + length > len(data):
        raise EOFError
    samples = only_samples(memoryview(data)[value : value + length], layout, order)
    return [write_element(PIXEL_DATA, vr, b"", file.written, len(samples)), samples]


def _encapsulated(file: DicomFile, start: int, layout: PixelLayout) -> Iterator[bytes]:
    """Fragments, cleaned, and the delimiter. Source: DICOM PS3.5 annex A.4.

    The offset table stays empty, as it may: one frame needs none, and nobody checks what is in it.
    """
    _, *fragments = (file.data[first:end] for first, end in fragment_spans(file.data, start))
    cleaned: Iterator[bytes]
    if file.syntax == RLE:
        cleaned = (only_rle_samples(item, layout) if item else item for item in fragments)
    else:
        cleaned = _without_metadata(fragments, layout)
    for item in (b"", *cleaned):
        yield struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    yield struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def fragment_spans(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Where each fragment starts and ends; the first one is the table of offsets.

    Raises:
        EOFError: there is something else than fragments up to their delimiter.
    """
    for count in itertools.count():
        refuse_more(count, MAX_READS, "fragments")
        group, element, length = struct.unpack_from("<HHI", data, start)
        start += 8
        if (group, element) == (0xFFFE, 0xE0DD):
            return
        if (group, element) != (0xFFFE, 0xE000) or start + length > len(data):
            raise EOFError
        yield start, start + length
        start += length


def _without_metadata(fragments: list[bytes], layout: PixelLayout) -> Iterator[bytes]:
    """The same fragments; a stream that spans several is cleaned as one and cut again."""
    starts = [0, *(n for n, item in enumerate(fragments) if n and item.startswith(STREAM_STARTS))]
    for first, last in itertools.pairwise([*starts, len(fragments)]):
        joined, position = b"".join(fragments[first:last]), 0
        if joined and not joined.startswith(STREAM_STARTS):  # nobody knows what it holds
            raise EOFError
        if layout.overlaid and joined and stream_bits(joined) > layout.stored:
            # To take it out, the stream would have to be decoded.
            raise NotReadable(
                "An overlay is compressed into the film's pixels, and cannot be kept from the "
                "server. Export the film as Explicit VR Little Endian."
            )
        stream = zero_metadata(joined)
        for item in fragments[first:last]:
            yield stream[position : position + len(item)]
            position += len(item)
