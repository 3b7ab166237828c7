"""DICOM objects: which pixels they hold, and what their header says of them."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrexport.errors import Colour, MultiFrame, NoPixels, NotReadable
from cxrexport.preprocessing.film import DecodedFilm, refuse_constant, through_table
from cxrexport.preprocessing.limits import refuse_too_large
from cxrexport.preprocessing.voi import display_table

__all__ = ["HEADER_KEYWORDS", "decode_dicom", "is_dicom"]

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

_DEFLATED = "1.2.840.10008.1.2.1.99"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_RADIOGRAPHY = {"CR", "DX", "RG", "DR"}
_CHEST = {"CHEST", "THORAX", "LUNG", "LUNGS", "RIBS", "HEART", "PORT CHEST"}
_LATERAL = {"LL", "RL", "LATERAL", "LAT", "LLAT", "RLAT", "LLO", "RLO"}
# Pixels that one byte of the fragment may stand for: each codec's cheapest code for a blank area,
# rounded up generously. The allocation is made from the header, so the header is checked first.
_PIXELS_PER_BYTE = {
    "1.2.840.10008.1.2.5": 64,  # RLE: two bytes repeat one value up to 128 times
    "1.2.840.10008.1.2.4.50": 1024,  # JPEG baseline: about a bit for a block of 64
    "1.2.840.10008.1.2.4.51": 1024,
    "1.2.840.10008.1.2.4.57": 16,  # JPEG lossless: at least a bit a pixel
    "1.2.840.10008.1.2.4.70": 16,
}
_PIXELS_PER_BYTE_ELSE = 65536  # JPEG 2000, JPEG-LS: blank areas cost almost nothing
_TRUNCATED = "the file ends before its image does; copy or export it again"


def is_dicom(encoded: bytes) -> bool:
    """Tell DICOM by its magic, or, without a preamble, by how its first element reads."""
    if encoded[128:132] == b"DICM":
        return True
    group, element = encoded[0:2], encoded[2:4]
    if group not in (b"\x02\x00", b"\x08\x00") or element[1:2] not in (b"\x00", b"\x01"):
        return False
    explicit = encoded[4:6].isalpha() and encoded[4:6].isupper()
    return explicit or int.from_bytes(encoded[4:8], "little") < len(encoded)


def decode_dicom(encoded: bytes) -> DecodedFilm:
    """Decode the one film of a DICOM object, as a reader would see it.

    Raises:
        FilmError: the object holds no film, or none that can be judged.
    """
    header = _read_header(encoded)
    _refuse_what_is_no_film(header, encoded)
    stored = _stored_pixels(header)
    return _displayed(header, stored)


def _read_header(encoded: bytes) -> Any:
    from pydicom import dcmread

    stream = io.BytesIO(encoded)
    try:
        header = dcmread(stream, force=True, specific_tags=list(HEADER_KEYWORDS))
    except Exception as error:
        # pydicom raises whatever the damage led to; its text may quote the header.
        _log.debug("pydicom could not read a header: %s", type(error).__name__)
        raise NotReadable(_TRUNCATED) from None
    if stream.tell() > len(stream.getbuffer()):
        raise NotReadable(_TRUNCATED)
    return header


def _refuse_what_is_no_film(header: Any, encoded: bytes) -> None:
    """Raise for what the header alone tells, before anything is allocated for pixels."""
    if "PixelData" not in header:
        if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
            raise NotReadable("its pixels are floating-point numbers; send the radiograph itself")
        if b"\xe0\x7f\x10\x00" in encoded:
            raise NotReadable(_TRUNCATED)
        raise NoPixels("this DICOM object holds no image; send the object with the film")
    rows, columns = _whole(header, "Rows"), _whole(header, "Columns")
    if rows < 1 or columns < 1:
        raise NotReadable("the header does not say how large the image is; export it again")
    if _whole(header, "NumberOfFrames", 1) > 1:
        raise MultiFrame("it holds several frames; send one frontal film as one object")
    if _whole(header, "SamplesPerPixel", 1) != 1 or not str(
        header.get("PhotometricInterpretation", "MONOCHROME2")
    ).startswith("MONOCHROME"):
        raise Colour("it is a colour image; send the original radiograph")
    if _whole(header, "BitsAllocated") not in (8, 16):
        raise NotReadable("its pixels have neither 8 nor 16 bits; send the original radiograph")
    _refuse_size(header, rows, columns)


def _refuse_size(header: Any, rows: int, columns: int) -> None:
    syntax = getattr(header.file_meta, "TransferSyntaxUID", None)
    element = header.get_item("PixelData")
    held, declared = len(element.value or b""), getattr(element, "length", 0xFFFFFFFF)
    if syntax is not None and syntax.is_encapsulated:
        rate = _PIXELS_PER_BYTE.get(str(syntax), _PIXELS_PER_BYTE_ELSE)
        refuse_too_large(columns, rows, held * rate)
        return
    if declared != 0xFFFFFFFF and held < declared:
        raise NotReadable(_TRUNCATED)
    refuse_too_large(columns, rows, held * 8 // _whole(header, "BitsAllocated"))


def _whole(header: Any, keyword: str, otherwise: int = 0) -> int:
    try:
        value = header.get(keyword)
        return otherwise if value is None or value == "" else int(value)
    except (TypeError, ValueError):
        return otherwise


def _stored_pixels(header: Any) -> npt.NDArray[Any]:
    """Decode to [rows, columns] of what was stored, untouched by any table.

    Raises:
        NotReadable: the image is damaged, or compressed in a way nobody here can decode.
    """
    from pydicom.pixels import get_decoder
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import ImplicitVRLittleEndian

    syntax = header.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise NotReadable(
            "its transfer syntax is not one for still images; export it as Explicit VR Little "
            "Endian"
        ) from None
    try:
        array, _ = decoder.as_array(
            header,
            index=0,
            raw=True,
            view_only=True,
            correct_unused_bits=False,
            **as_pixel_options(header),
        )
    except Exception as error:
        # Each plugin raises its own kind; its text may quote the header.
        _log.debug("pixels could not be decoded: %s", type(error).__name__)
        raise NotReadable(
            "the image is damaged or its compression is not supported; export it again uncompressed"
        ) from None
    return np.asarray(array)


def _displayed(header: Any, stored: npt.NDArray[Any]) -> DecodedFilm:
    container: Any = stored.view(np.uint8 if stored.dtype.itemsize == 1 else np.uint16)
    values = _stored_values(header, stored.dtype)
    padding_table = _padding_values(header, values)
    padding = None if padding_table is None else padding_table[container]
    inside = container if padding is None else container[~padding]
    if inside.size == 0:
        refuse_constant(0, 0)
    top = int(inside.max())
    occurring = values[: int(container.max()) + 1]
    used = values[np.unique(inside)] if values[0] != 0 or _wraps(values, top) else None
    low = int(inside.min()) if used is None else int(used.min())
    high = top if used is None else int(used.max())
    refuse_constant(low, high)
    inverse = _is_inverse(header)
    table, window_flags = display_table(header, occurring, low, high, inverse)
    if padding_table is not None:
        table = np.where(padding_table[: table.size], np.uint16(0), table)
    pixels = through_table(container, table)
    return DecodedFilm(pixels, padding, _header_flags(header, inverse, padding) + window_flags)


def _wraps(values: npt.NDArray[np.int64], top: int) -> bool:
    """Tell whether stored values do not simply count up to the container's `top`."""
    return int(values[top]) != top


def _stored_values(header: Any, dtype: np.dtype[Any]) -> npt.NDArray[np.int64]:
    """Give the stored value that each content of the container means.

    Native pixels use BitsStored bits up to HighBit, the rest may be old overlays (PS3.5 8.1.1);
    decoders of compressed pixels have taken care of both already.
    """
    raw = np.arange(1 << (8 * dtype.itemsize), dtype=np.int64)
    allocated = 8 * dtype.itemsize
    syntax = header.file_meta.get("TransferSyntaxUID")
    bits, shift = allocated, 0
    if syntax is None or not syntax.is_encapsulated:
        bits = min(max(_whole(header, "BitsStored", allocated), 1), allocated)
        shift = min(max(_whole(header, "HighBit", bits - 1) - bits + 1, 0), allocated - bits)
    raw = (raw >> shift) & ((1 << bits) - 1)
    if _whole(header, "PixelRepresentation") == 1:
        raw = np.where(raw >= 1 << (bits - 1), raw - (1 << bits), raw)
    return raw


def _padding_values(header: Any, values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_] | None:
    """Give for each container content whether it is padding. Source: PS3.3 C.7.5.1.1.2."""
    first = header.get("PixelPaddingValue")
    if not isinstance(first, int):
        return None
    limit = header.get("PixelPaddingRangeLimit")
    ends = sorted((first, limit if isinstance(limit, int) else first))
    return np.asarray((values >= ends[0]) & (values <= ends[1]))


def _is_inverse(header: Any) -> bool:
    """Tell whether small values are bright; said twice it is still turned once.

    Source: DICOM PS3.3 C.7.6.3.1.2 and C.11.6.1.1.2: an object of MONOCHROME1 has the Presentation
    LUT Shape INVERSE, so the two are one statement.
    """
    return (
        str(header.get("PhotometricInterpretation")) == "MONOCHROME1"
        or str(header.get("PresentationLUTShape")) == "INVERSE"
    )


def _header_flags(header: Any, inverse: bool, padding: Any) -> tuple[str, ...]:
    """Say what the header says, in codes; an empty or unknown attribute says nothing."""
    modality = str(header.get("Modality") or "").strip().upper()
    body_part = str(header.get("BodyPartExamined") or "").strip().upper()
    syntax = str(header.file_meta.get("TransferSyntaxUID"))
    facts = {
        "POLARITY_TURNED": inverse,
        "PADDED": padding is not None,
        "LOSSY_COMPRESSED": str(header.get("LossyImageCompression")) == "01"
        or syntax in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"),
        "SECONDARY_CAPTURE": str(header.get("SOPClassUID") or "").startswith(_SECONDARY_CAPTURE),
        "FOR_PROCESSING": str(header.get("PresentationIntentType")) == "FOR PROCESSING",
        "MODALITY_OTHER": bool(modality) and modality not in _RADIOGRAPHY,
        "BODY_PART_OTHER": bool(body_part) and body_part not in _CHEST,
        "VIEW_LATERAL": str(header.get("ViewPosition") or "").strip().upper() in _LATERAL,
    }
    return tuple(code for code, holds in facts.items() if holds)
