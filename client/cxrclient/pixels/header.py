"""The header of a DICOM object: read without the patient, checked before any pixel is decoded."""

from __future__ import annotations

import logging
from typing import Any

from cxrclient.errors import Colour, FilmError, MultiFrame, NoPixels, NotReadable
from cxrclient.faults import is_ours
from cxrclient.films import (
    FUNCTIONAL_GROUPS,
    IMAGE_TAGS,
    JPEG_2000,
    JPEG_LOSSLESS,
    JPEG_LOSSY,
    JPEG_LS,
    LOSSLESS,
    MAX_VALUE_BYTES,
    PIXEL_DATA,
    RLE,
    DicomFile,
    ends_early,
    fragment_spans,
    items_of,
    open_file,
    pixel_value,
    raw_elements,
    refuse_long_values,
    refuse_more,
    with_functional_groups,
)
from cxrclient.pixels.codecs.claims import DAMAGED, TRUNCATED, Claim, jpeg_claim
from cxrclient.pixels.codecs.jpeg2000_pieces import jpeg2000_claim, refuse_many_pieces
from cxrclient.pixels.limits import JPEG_PIXELS_PER_BYTE, refuse_coded, refuse_too_large

_log = logging.getLogger(__name__)

_SEQUENCES = (0x00283000, 0x00283010)  # modality LUT, VOI LUT
_FLOAT_PIXELS = (0x7FE00008, 0x7FE00009)
_READ = IMAGE_TAGS.union(FUNCTIONAL_GROUPS, _FLOAT_PIXELS)
_JPEG_FAMILY = JPEG_LOSSY | JPEG_LOSSLESS | JPEG_LS
_VRS_OF_PIXELS = (b"OB", b"OW", b"UN")
_RLE_PIXELS_PER_BYTE = 64  # two bytes repeat one value up to 128 times (PS3.5 G.3)


def read_header(encoded: bytes) -> Any:
    """Read what an image is seen through, and make sure that it describes one whole grey film.

    Nothing of the patient is among it.

    Returns:
        pydicom Dataset with the pixels still encoded.

    Raises:
        FilmError: damaged, without pixels, several frames, coloured, or it claims too much.
    """
    try:
        file = open_file(encoded)
        elements = raw_elements(file, _READ)
        header = _dataset(file, elements)
    except FilmError:
        raise
    except Exception as error:
        if is_ours(error):
            raise
        # pydicom raises whatever the damage led to; its text may quote the header.
        _log.debug("a header could not be read: %s", type(error).__name__)
        raise NotReadable(TRUNCATED) from None
    if PIXEL_DATA not in elements:
        _refuse_no_pixels(file, elements)
    rows, columns = whole_number(header, "Rows"), whole_number(header, "Columns")
    if rows < 1 or columns < 1:
        raise NotReadable("the header does not say how large the image is; export it again")
    if whole_number(header, "NumberOfFrames", 1) > 1:
        raise MultiFrame("it holds several frames; send one frontal film as one object")
    _lift_functional_groups(header, elements)
    if whole_number(header, "SamplesPerPixel", 1) != 1 or not str(
        header.get("PhotometricInterpretation") or "MONOCHROME2"
    ).startswith("MONOCHROME"):
        raise Colour("it is a colour image; send the original radiograph")
    if whole_number(header, "BitsAllocated") not in (8, 16):
        raise NotReadable("its pixels have neither 8 nor 16 bits; send the original radiograph")
    header[PIXEL_DATA] = _pixels(header, file, elements[PIXEL_DATA])
    _refuse_size(header, rows, columns)
    return header


def _dataset(file: DicomFile, elements: dict[int, Any]) -> Any:
    """Give pydicom's Dataset of the elements that every film is seen through, their values read."""
    from cxrclient.pixels.pydicom_parts import UID, Dataset, FileMetaDataset

    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = UID(file.syntax)
    header.set_original_encoding(not file.encoding.explicit, file.encoding.order == "<")
    later = {PIXEL_DATA, *FUNCTIONAL_GROUPS, *_FLOAT_PIXELS}
    _put(header, {tag: element for tag, element in elements.items() if tag not in later})
    return header


def _put(header: Any, elements: dict[int, Any]) -> None:
    """Put elements into a header. pydicom reads values when asked for: here it does, in bounds."""
    from cxrclient.pixels.pydicom_parts import DataElement

    for tag, element in elements.items():
        if tag in _SEQUENCES:
            header[tag] = DataElement(tag, "SQ", items_of(element))
        else:
            refuse_long_values([element])
            header[tag] = element
            header.get(tag)


def _lift_functional_groups(header: Any, elements: dict[int, Any]) -> None:
    """Put the look-ups of the one frame where those of an ordinary object are."""
    try:
        lifted = with_functional_groups(elements)
        _put(header, {tag: lifted[tag] for tag in lifted.keys() - elements.keys()})
    except FilmError:
        raise
    except Exception as error:
        if is_ours(error):
            raise
        # As above: pydicom reads the items' values here.
        _log.debug("functional groups could not be read: %s", type(error).__name__)
        raise NotReadable(DAMAGED) from None


def _refuse_no_pixels(file: DicomFile, elements: dict[int, Any]) -> None:
    """Tell an object that has no image from one whose image was cut off."""
    if not elements.keys().isdisjoint(_FLOAT_PIXELS):
        raise NotReadable("its pixels are floating-point numbers; send the radiograph itself")
    if b"\xe0\x7f\x10\x00" in file.data or _is_cut_off(file):
        raise NotReadable(TRUNCATED)
    raise NoPixels("this DICOM object holds no image; send the object with the film")


def _is_cut_off(file: DicomFile) -> bool:
    try:
        return ends_early(file)
    except FilmError:
        raise
    except Exception as error:
        if is_ours(error):
            raise
        _log.debug("a header could not be read: %s", type(error).__name__)
        return True


def _pixels(header: Any, file: DicomFile, start: int) -> Any:
    """Give the element of the pixels; uncompressed, a view: a copy would take as long as all else.

    A value that is cut off is given as far as it goes.

    Args:
        header: pydicom Dataset of the same object.
        file: holds the element.
        start: where it starts.

    Raises:
        EOFError: it is cut off where nobody says how long it should be.
        NotReadable: its VR says that it holds something else.
    """
    from cxrclient.pixels.pydicom_parts import RawDataElement, Tag

    explicit = file.encoding.explicit
    vr = file.data[start + 4 : start + 6]
    if explicit and vr not in _VRS_OF_PIXELS:
        raise NotReadable(DAMAGED)
    place, length = pixel_value(file, start)
    end = place + length if length is not None else _end_of_fragments(file.data, place)
    compressed = length is None or is_encapsulated(header)
    value = file.data[place:end] if compressed else memoryview(file.data)[place:end]
    return RawDataElement(
        Tag(PIXEL_DATA),
        vr.decode("ascii") if explicit else None,
        0xFFFFFFFF if length is None else length,
        value,
        place,
        not explicit,
        file.encoding.order == "<",
    )


def _end_of_fragments(data: bytes, start: int) -> int:
    return max((end for _, end in fragment_spans(data, start)), default=start)


def _refuse_size(header: Any, rows: int, columns: int) -> None:
    """Compare the size that the header claims with what the file holds of the image."""
    element = header.get_item(PIXEL_DATA)
    value, declared = element.value, element.length
    syntax = header.file_meta.TransferSyntaxUID
    if not is_encapsulated(header):
        if declared != 0xFFFFFFFF and len(value) < declared:
            raise NotReadable(TRUNCATED)
        refuse_too_large(columns, rows, len(value) * 8 // whole_number(header, "BitsAllocated"))
        return
    # One frame has one offset at most, and pydicom makes an object of each.
    refuse_more(int.from_bytes(value[4:8], "little"), MAX_VALUE_BYTES, "bytes of offsets")
    per_byte = _RLE_PIXELS_PER_BYTE if syntax == RLE else JPEG_PIXELS_PER_BYTE
    refuse_too_large(columns, rows, len(value) * per_byte)
    if syntax in _JPEG_FAMILY | JPEG_2000:
        frame = first_frame(header.PixelData)
        _refuse_other_size(_claim(frame, syntax), rows, columns)
        if syntax in JPEG_2000:
            refuse_many_pieces(frame)


def _claim(frame: bytes, syntax: str) -> Claim:
    return jpeg_claim(frame) if syntax in _JPEG_FAMILY else jpeg2000_claim(frame)


def first_frame(value: bytes) -> bytes:
    """Give the stream of the one frame.

    Raises:
        NotReadable: the pixel data do not hold one.
    """
    from cxrclient.pixels.pydicom_parts import generate_frames

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
    try:
        return bool(header.file_meta.TransferSyntaxUID.is_encapsulated)
    except (AttributeError, ValueError):
        raise NotReadable(DAMAGED) from None


def sample_bits(header: Any, allocated: int) -> tuple[int, int]:
    """Tell how many bits of a decoded word are its sample's, and how far above bit 0 they start.

    All of them where compression loses something: values may overshoot BitsStored a little, and
    must not be cut to it. Otherwise decoding gives the words as they were stored, with whatever
    the other bits hold.
    """
    encapsulated, syntax = is_encapsulated(header), header.file_meta.TransferSyntaxUID
    if encapsulated and syntax not in LOSSLESS:
        return allocated, 0
    bits = min(max(whole_number(header, "BitsStored", allocated), 1), allocated)
    shift = min(max(whole_number(header, "HighBit", bits - 1) - bits + 1, 0), allocated - bits)
    if shift and encapsulated and syntax != RLE:
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
