"""The header of a DICOM object: read without the patient, checked before any pixel is decoded."""

from __future__ import annotations

import functools
import logging
from typing import Any

from cxrexport.errors import Colour, FilmError, MultiFrame, NoPixels, NotReadable
from cxrexport.preprocessing.bounded import (
    BoundedStream,
    inflated_object,
    read_items,
    refuse_long_values,
)
from cxrexport.preprocessing.faults import is_ours
from cxrexport.preprocessing.functional_groups import FUNCTIONAL_GROUPS, lift_functional_groups
from cxrexport.preprocessing.jpeg2000 import jpeg2000_claim, refuse_many_pieces
from cxrexport.preprocessing.limits import (
    JPEG_PIXELS_PER_BYTE,
    MAX_INFLATED_BYTES,
    MAX_VALUE_BYTES,
    refuse_coded,
    refuse_more,
    refuse_too_large,
)
from cxrexport.preprocessing.structure import DAMAGED, TRUNCATED, Claim, jpeg_claim

__all__ = [
    "HEADER_KEYWORDS",
    "first_frame",
    "read_header",
    "sample_bits",
    "syntax_of",
    "whole_number",
]

_log = logging.getLogger(__name__)

# Everything that is read of a header; nothing of the patient is among it.
HEADER_KEYWORDS = (
    "SOPClassUID",
    "Modality",
    "ViewPosition",
    "BodyPartExamined",
    "PresentationIntentType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "BurnedInAnnotation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PresentationLUTShape",
    "LossyImageCompression",
    *FUNCTIONAL_GROUPS,
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "PixelData",
)

_SEQUENCES = (0x00283000, 0x00283010)  # modality LUT, VOI LUT
_IMAGES = ("FloatPixelData", "DoubleFloatPixelData", "PixelData")
_RLE = "1.2.840.10008.1.2.5"
_LOSSY_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_LOSSLESS = (_RLE, *(f"1.2.840.10008.1.2.4.{n}" for n in (57, 70, 80, 90, 201, 202)))
_JPEG_FAMILY = (*_LOSSY_JPEG, *(f"1.2.840.10008.1.2.4.{n}" for n in (57, 70, 80, 81)))
_JPEG_2000_FAMILY = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
_IMAGE_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_UNDEFINED = 0xFFFFFFFF
_COPIED_BYTES = 1 << 18  # larger values are not copied out of the file
_RLE_PIXELS_PER_BYTE = 64  # two bytes repeat one value up to 128 times (PS3.5 G.3)


def read_header(encoded: bytes) -> Any:
    """Read what HEADER_KEYWORDS names, and make sure that it describes one whole grey film.

    Returns:
        pydicom Dataset with the pixels still encoded.

    Raises:
        FilmError: damaged, without pixels, several frames, coloured, or it claims too much.
    """
    encoded = inflated_object(encoded, MAX_INFLATED_BYTES)
    header = _read(encoded, _header_tags())
    if "PixelData" not in header:
        _refuse_no_pixels(header, encoded)
    rows, columns = whole_number(header, "Rows"), whole_number(header, "Columns")
    if rows < 1 or columns < 1:
        raise NotReadable("the header does not say how large the image is; export it again")
    if whole_number(header, "NumberOfFrames", 1) > 1:
        raise MultiFrame("it holds several frames; send one frontal film as one object")
    _lift(header)
    if whole_number(header, "SamplesPerPixel", 1) != 1 or not str(
        header.get("PhotometricInterpretation") or "MONOCHROME2"
    ).startswith("MONOCHROME"):
        raise Colour("it is a colour image; send the original radiograph")
    if whole_number(header, "BitsAllocated") not in (8, 16):
        raise NotReadable("its pixels have neither 8 nor 16 bits; send the original radiograph")
    _refuse_size(header, rows, columns)
    return header


@functools.cache
def _header_tags() -> list[Any]:
    """Give HEADER_KEYWORDS as pydicom's tags, which it takes for every film as they are."""
    from pydicom.tag import Tag

    return [Tag(keyword) for keyword in HEADER_KEYWORDS]


@functools.cache
def _tags_of_values() -> set[Any]:
    """Give those of values that every film is seen through."""
    from pydicom.tag import Tag

    return {*_header_tags()} - {Tag(keyword) for keyword in (*FUNCTIONAL_GROUPS, *_IMAGES)}


def _read(encoded: bytes, tags: list[Any] | None) -> Any:
    from pydicom import dcmread

    stream = BoundedStream(encoded)
    try:
        header = dcmread(stream, force=True, specific_tags=tags, defer_size=_COPIED_BYTES)
        left_out = _left_out(header)
        if any(element.length == _UNDEFINED for element in left_out):
            # Where such a value lies in the file, only pydicom knows.
            stream.seek(0)
            header, left_out = dcmread(stream, force=True, specific_tags=tags), []
        end = _put_in_place(header, left_out, encoded)
        # pydicom reads values when they are first asked for: do it here, within bounds.
        for tag in header.keys() & _tags_of_values():
            if tag in _SEQUENCES:
                read_items(header, tag)
            else:
                refuse_long_values(header, (tag,))
                header.get(tag)
    except FilmError:
        raise
    except Exception as error:
        if is_ours(error):
            raise
        stream.refuse_spent()
        # pydicom raises whatever the damage led to; its text may quote the header.
        _log.debug("pydicom could not read a header: %s", type(error).__name__)
        raise NotReadable(TRUNCATED) from None
    if stream.tell() > max(len(encoded), end):
        raise NotReadable(TRUNCATED)
    return header


def _left_out(header: Any) -> list[Any]:
    """List the elements whose values pydicom passed over for their size."""
    from pydicom.dataelem import RawDataElement

    elements = [header.get_item(tag, keep_deferred=True) for tag in sorted(header.keys())]
    return [e for e in elements if isinstance(e, RawDataElement) and e.value is None and e.length]


def _put_in_place(header: Any, elements: list[Any], encoded: bytes) -> int:
    """Give these elements their values, the pixels as a view; tell where the last one should end.

    A copy of an uncompressed film would take as long as all else that is done with a header. A
    value that is cut off is given as far as it goes, as pydicom reads it.
    """
    end = 0
    for element in elements:
        end = element.value_tell + element.length
        value = memoryview(encoded)[element.value_tell : end]
        is_image = element.tag in _IMAGE_TAGS
        header[element.tag] = element._replace(value=value if is_image else bytes(value))
    return end


def _lift(header: Any) -> None:
    if not any(keyword in header for keyword in FUNCTIONAL_GROUPS):
        return
    try:
        lift_functional_groups(header)
    except FilmError:
        raise
    except Exception as error:
        if is_ours(error):
            raise
        # As above: pydicom reads the items' values here.
        _log.debug("functional groups could not be read: %s", type(error).__name__)
        raise NotReadable(DAMAGED) from None


def _refuse_no_pixels(header: Any, encoded: bytes) -> None:
    """Tell an object that has no image from one whose image was cut off."""
    if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
        raise NotReadable("its pixels are floating-point numbers; send the radiograph itself")
    if b"\xe0\x7f\x10\x00" in encoded or _ends_early(encoded):
        raise NotReadable(TRUNCATED)
    raise NoPixels("this DICOM object holds no image; send the object with the film")


def _ends_early(encoded: bytes) -> bool:
    """Tell whether the last element of the object is cut off."""
    from pydicom import dcmread
    from pydicom.dataelem import RawDataElement

    # Left where they are, the values tell how long they should have been.
    stream = BoundedStream(encoded)
    try:
        header = dcmread(stream, force=True, defer_size=0)
    except Exception as error:
        if is_ours(error):
            raise
        stream.refuse_spent()
        _log.debug("pydicom could not read a header: %s", type(error).__name__)
        return True
    elements = [header.get_item(tag, keep_deferred=True) for tag in sorted(header.keys())]
    if not elements:
        return True
    last: Any = elements[-1]
    if not isinstance(last, RawDataElement) or last.length == _UNDEFINED:
        return False  # the sequence was read to its end
    return bool(last.value_tell + last.length != len(encoded))


def _refuse_size(header: Any, rows: int, columns: int) -> None:
    """Compare the size that the header claims with what the file holds of the image."""
    element = header.get_item("PixelData")
    value, declared = element.value or b"", getattr(element, "length", 0xFFFFFFFF)
    if not isinstance(value, bytes | memoryview):
        raise NotReadable(DAMAGED)  # its VR says that it is a sequence
    syntax = header.file_meta.get("TransferSyntaxUID")
    if not is_encapsulated(header):
        if declared != 0xFFFFFFFF and len(value) < declared:
            raise NotReadable(TRUNCATED)
        refuse_too_large(columns, rows, len(value) * 8 // whole_number(header, "BitsAllocated"))
        return
    # One frame has one offset at most, and pydicom makes an object of each.
    refuse_more(int.from_bytes(value[4:8], "little"), MAX_VALUE_BYTES, "bytes of offsets")
    per_byte = _RLE_PIXELS_PER_BYTE if syntax == _RLE else JPEG_PIXELS_PER_BYTE
    refuse_too_large(columns, rows, len(value) * per_byte)
    if syntax in _JPEG_FAMILY + _JPEG_2000_FAMILY:
        frame = first_frame(header.PixelData)
        _refuse_other_size(_claim(frame, syntax), rows, columns)
        if syntax in _JPEG_2000_FAMILY:
            refuse_many_pieces(frame)


def _claim(frame: bytes, syntax: str) -> Claim:
    return jpeg_claim(frame) if syntax in _JPEG_FAMILY else jpeg2000_claim(frame)


def first_frame(value: bytes) -> bytes:
    """Give the stream of the one frame.

    Raises:
        NotReadable: the pixel data do not hold one.
    """
    from pydicom.encaps import generate_frames

    try:
        return bytes(next(generate_frames(value, number_of_frames=1)))
    except Exception as error:
        if is_ours(error):
            raise
        raise NotReadable(TRUNCATED) from None


def _refuse_other_size(claim: Claim, rows: int, columns: int) -> None:
    if claim.samples != 1:
        raise Colour("it is a colour image; send the original radiograph")
    refuse_too_large(columns, rows, claim.width * claim.height)
    if (claim.height, claim.width) != (rows, columns):
        raise NotReadable("header and image do not agree on the size; export the film again")
    refuse_coded(claim.width, claim.height, claim.bits)


def is_encapsulated(header: Any) -> bool:
    """Tell whether the pixels are compressed.

    Raises:
        NotReadable: the transfer syntax is none.
    """
    syntax = header.file_meta.get("TransferSyntaxUID")
    try:
        return syntax is not None and bool(syntax.is_encapsulated)
    except (AttributeError, ValueError):
        raise NotReadable(DAMAGED) from None


def syntax_of(header: Any) -> str:
    """Give the transfer syntax; without file meta information what the bytes show."""
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

    stated = header.file_meta.get("TransferSyntaxUID")
    if stated:
        return str(stated)
    is_big = header.original_encoding[1] is False
    return str(ExplicitVRBigEndian if is_big else ImplicitVRLittleEndian)


def sample_bits(header: Any, allocated: int) -> tuple[int, int]:
    """Tell how many bits of a decoded word are its sample's, and how far above bit 0 they start.

    All of them where compression loses something: values may overshoot BitsStored a little, and
    must not be cut to it. Otherwise decoding gives the words as they were stored, with whatever
    the other bits hold.
    """
    encapsulated, syntax = is_encapsulated(header), header.file_meta.get("TransferSyntaxUID")
    if encapsulated and syntax not in _LOSSLESS:
        return allocated, 0
    bits = min(max(whole_number(header, "BitsStored", allocated), 1), allocated)
    shift = min(max(whole_number(header, "HighBit", bits - 1) - bits + 1, 0), allocated - bits)
    if shift and encapsulated and syntax != _RLE:
        # Most encoders take the samples out of their words, and HighBit is that of before.
        shift = shift if _claim(first_frame(header.PixelData), syntax).bits > bits else 0
    return bits, shift


def whole_number(header: Any, keyword: str, otherwise: int = 0) -> int:
    """Read a whole number; `otherwise` where there is none or it cannot be read."""
    try:
        value = header.get(keyword)
        return otherwise if value is None or value == "" else int(value)
    except (TypeError, ValueError):
        return otherwise
