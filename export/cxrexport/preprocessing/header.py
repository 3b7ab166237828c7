"""The header of a DICOM object: read without the patient, checked before any pixel is decoded."""

from __future__ import annotations

import functools
import io
import logging
import zlib
from typing import Any

from cxrexport.errors import Colour, MultiFrame, NoPixels, NotReadable, TooLarge
from cxrexport.preprocessing.limits import MAX_PIXELS, refuse_too_large
from cxrexport.preprocessing.structure import DAMAGED, TRUNCATED, Claim, jpeg2000_claim, jpeg_claim

__all__ = [
    "HEADER_KEYWORDS",
    "header_flags",
    "is_encapsulated",
    "is_inverse",
    "read_header",
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
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "PixelData",
)

_RADIOGRAPHY = {"CR", "DX", "RG", "DR"}
_CHEST = {"CHEST", "THORAX", "LUNG", "LUNGS", "RIBS", "HEART", "PORT CHEST"}
_LATERAL = {"LL", "RL", "LATERAL", "LAT", "LLAT", "RLAT", "LLO", "RLO"}

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_RLE = "1.2.840.10008.1.2.5"
_LOSSY_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_FAMILY = (*_LOSSY_JPEG, *(f"1.2.840.10008.1.2.4.{n}" for n in (57, 70, 80, 81)))
_JPEG_2000_FAMILY = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PIXEL_DATA = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_COPIED_BYTES = 1 << 18  # larger values are not copied out of the file
_RLE_PIXELS_PER_BYTE = 64  # two bytes repeat one value up to 128 times (PS3.5 G.3)
_MOST_INFLATED = 2 * MAX_PIXELS + (16 << 20)


def read_header(encoded: bytes) -> Any:
    """Read what HEADER_KEYWORDS names, and make sure that it describes one whole grey film.

    Returns:
        pydicom Dataset with the pixels still encoded.

    Raises:
        FilmError: damaged, without pixels, several frames, coloured, or it claims too much.
    """
    _refuse_zip_bomb(encoded)
    header = _read(encoded, _header_tags())
    if "PixelData" not in header:
        _refuse_no_pixels(header, encoded)
    rows, columns = whole_number(header, "Rows"), whole_number(header, "Columns")
    if rows < 1 or columns < 1:
        raise NotReadable("the header does not say how large the image is; export it again")
    if whole_number(header, "NumberOfFrames", 1) > 1:
        raise MultiFrame("it holds several frames; send one frontal film as one object")
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


def _read(encoded: bytes, tags: list[Any] | None) -> Any:
    from pydicom import dcmread

    stream = io.BytesIO(encoded)
    try:
        header = dcmread(stream, force=True, specific_tags=tags, defer_size=_COPIED_BYTES)
        left_out = _left_out(header)
        if any(element.length == _UNDEFINED for element in left_out) or _is_deflated(header):
            # Where such a value lies in the file, only pydicom knows.
            stream.seek(0)
            header, left_out = dcmread(stream, force=True, specific_tags=tags), []
        end = _put_in_place(header, left_out, encoded)
        for tag in header.keys() & set(_header_tags()[:-1]):
            header.get(tag)  # pydicom reads values when they are first asked for: do it here
    except Exception as error:
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
        is_image = element.tag == _PIXEL_DATA
        header[element.tag] = element._replace(value=value if is_image else bytes(value))
    return end


def _is_deflated(header: Any) -> bool:
    return str(header.file_meta.get("TransferSyntaxUID")).encode() == _DEFLATED


def _refuse_zip_bomb(encoded: bytes) -> None:
    """Raise TooLarge for a deflated object that would not fit; pydicom inflates without a limit."""
    if encoded[128:132] != b"DICM" or _DEFLATED not in encoded[:1024]:
        return
    start = 144 + int.from_bytes(encoded[140:144], "little")
    try:
        held = len(zlib.decompressobj(-zlib.MAX_WBITS).decompress(encoded[start:], _MOST_INFLATED))
    except zlib.error:
        raise NotReadable(TRUNCATED) from None
    if held >= _MOST_INFLATED:
        raise TooLarge("it inflates to more than any film has; export the film again")


def _refuse_no_pixels(header: Any, encoded: bytes) -> None:
    """Tell an object that has no image from one whose image was cut off."""
    if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
        raise NotReadable("its pixels are floating-point numbers; send the radiograph itself")
    if b"\xe0\x7f\x10\x00" in encoded or _ends_early(encoded):
        raise NotReadable(TRUNCATED)
    raise NoPixels("this DICOM object holds no image; send the object with the film")


def _ends_early(encoded: bytes) -> bool:
    """Tell whether the last element of the object is cut off."""
    from pydicom.dataelem import RawDataElement

    everything = _read(encoded, None)
    elements = [everything.get_item(tag) for tag in sorted(everything.keys())]
    if not elements:
        return True
    if not isinstance(elements[-1], RawDataElement):
        return False
    last: Any = elements[-1]
    whole = len(last.value or b"") == last.length or last.length == 0xFFFFFFFF
    return not whole or 0 < len(encoded) - last.value_tell - len(last.value or b"") < 8


def _refuse_size(header: Any, rows: int, columns: int) -> None:
    """Compare the size that the header claims with what the file holds of the image."""
    element = header.get_item("PixelData")
    value, declared = element.value or b"", getattr(element, "length", 0xFFFFFFFF)
    syntax = header.file_meta.get("TransferSyntaxUID")
    if not is_encapsulated(header):
        if declared != 0xFFFFFFFF and len(value) < declared:
            raise NotReadable(TRUNCATED)
        refuse_too_large(columns, rows, len(value) * 8 // whole_number(header, "BitsAllocated"))
        return
    refuse_too_large(columns, rows, len(value) * _RLE_PIXELS_PER_BYTE if syntax == _RLE else None)
    if syntax in _JPEG_FAMILY + _JPEG_2000_FAMILY:
        frame = _first_frame(value)
        claim = jpeg_claim(frame) if syntax in _JPEG_FAMILY else jpeg2000_claim(frame)
        _refuse_other_size(claim, rows, columns)


def _first_frame(value: bytes) -> bytes:
    from pydicom.encaps import generate_frames

    try:
        return bytes(next(generate_frames(value, number_of_frames=1)))
    except Exception:
        raise NotReadable(TRUNCATED) from None


def _refuse_other_size(claim: Claim, rows: int, columns: int) -> None:
    if claim.samples != 1:
        raise Colour("it is a colour image; send the original radiograph")
    refuse_too_large(columns, rows, claim.width * claim.height)
    if (claim.height, claim.width) != (rows, columns):
        raise NotReadable("header and image do not agree on the size; export the film again")


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


def whole_number(header: Any, keyword: str, otherwise: int = 0) -> int:
    """Read a whole number; `otherwise` where there is none or it cannot be read."""
    try:
        value = header.get(keyword)
        return otherwise if value is None or value == "" else int(value)
    except (TypeError, ValueError):
        return otherwise


def is_inverse(header: Any) -> bool:
    """Tell whether small values are bright; said twice it is still turned once.

    Source: DICOM PS3.3 C.7.6.3.1.2 and C.11.6.1.1.2: an object of MONOCHROME1 has the Presentation
    LUT Shape INVERSE, so the two are one statement.
    """
    return (
        str(header.get("PhotometricInterpretation")) == "MONOCHROME1"
        or str(header.get("PresentationLUTShape")) == "INVERSE"
    )


def header_flags(header: Any) -> tuple[str, ...]:
    """Say what the header says, in codes; an empty or unknown attribute says nothing.

    POLARITY_TURNED    small values were bright (MONOCHROME1, or INVERSE)
    PADDED             some values are named as padding, no part of the film
    LOSSY_COMPRESSED   lossy now or once
    SECONDARY_CAPTURE  a screen shot, a scan or a converted film
    FOR_PROCESSING     the detector's raw values, not meant to be looked at
    MODALITY_OTHER     not CR, DX, RG or DR
    BODY_PART_OTHER    not the chest
    VIEW_LATERAL       a lateral or oblique view
    """
    modality = str(header.get("Modality") or "").strip().upper()
    body_part = str(header.get("BodyPartExamined") or "").strip().upper()
    syntax = str(header.file_meta.get("TransferSyntaxUID"))
    lossy = str(header.get("LossyImageCompression")) == "01" or syntax in _LOSSY_JPEG
    facts = {
        "POLARITY_TURNED": is_inverse(header),
        "PADDED": isinstance(header.get("PixelPaddingValue"), int),
        "LOSSY_COMPRESSED": lossy,
        "SECONDARY_CAPTURE": str(header.get("SOPClassUID") or "").startswith(_SECONDARY_CAPTURE),
        "FOR_PROCESSING": str(header.get("PresentationIntentType")) == "FOR PROCESSING",
        "MODALITY_OTHER": bool(modality) and modality not in _RADIOGRAPHY,
        "BODY_PART_OTHER": bool(body_part) and body_part not in _CHEST,
        "VIEW_LATERAL": str(header.get("ViewPosition") or "").strip().upper() in _LATERAL,
    }
    return tuple(code for code, holds in facts.items() if holds)
