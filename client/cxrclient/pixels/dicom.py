"""DICOM objects: from stored values to brightness as a reader sees it."""

from __future__ import annotations

import logging
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.errors import NotReadable, TooLarge
from cxrclient.faults import is_ours
from cxrclient.films import JPEG_2000, JPEG_LOSSLESS, JPEG_LOSSY, JPEG_LS, PIXEL_DATA, RLE
from cxrclient.pixels.codecs.claims import jpeg_claim
from cxrclient.pixels.codecs.eight_bit_jpeg import decode_eight_bits
from cxrclient.pixels.codecs.medical_jpeg import decode_medical, is_medical
from cxrclient.pixels.film import LookUp, StoredFilm, ends_of, refuse_constant
from cxrclient.pixels.header import first_frame, read_header, sample_bits, whole_number
from cxrclient.pixels.header_flags import header_flags, is_inverse
from cxrclient.pixels.quiet import quiet_pydicom
from cxrclient.pixels.voi import display_table
from cxrclient.pixels.worker import in_worker

_log = logging.getLogger(__name__)

# pydicom would ask GDCM first, which gives the same bits in up to four times the time (measured),
# and which a damaged JPEG-LS stream makes end the whole process. GDCM is left with lossless JPEG.
_PLUGINS = {
    **dict.fromkeys(JPEG_LS, "pyjpegls"),
    **dict.fromkeys(JPEG_2000 | {RLE}, "pylibjpeg"),
}

_Bool = npt.NDArray[np.bool_]
_Int64 = npt.NDArray[np.int64]
_Stored = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def decode_dicom(encoded: bytes) -> StoredFilm:
    """Decode the one film of a DICOM object.

    Raises:
        FilmError: the object holds no film, or none that can be judged.
    """
    with quiet_pydicom():
        header = read_header(encoded)
        return _displayed(header, _stored_pixels(header))


def _stored_pixels(header: Any) -> _Stored:
    """Decode to unsigned [rows, columns]: the stored bits, untouched by any table.

    Raises:
        NotReadable: the image is damaged, or compressed in a way nobody here can decode.
    """
    try:
        native = _decoded(header, header.file_meta.TransferSyntaxUID)
    except TooLarge:
        raise
    except BaseException as error:
        if is_ours(error):
            raise
        # Each plugin raises its own kind, whose text may quote the header. A panic in Rust, as of
        # the RLE plugin for a damaged stream, is no Exception, and would end the server's process.
        _log.debug("pixels could not be decoded: %s", type(error).__name__)
        raise NotReadable(
            "the image is damaged or its compression is not supported; export it again as "
            "Explicit VR Little Endian"
        ) from None
    return native.view(np.uint8) if native.dtype.itemsize == 1 else native.view(np.uint16)


def _decoded(header: Any, syntax: str) -> npt.NDArray[Any]:
    """Decode JPEG as its stream says that it is, for headers mix up its kinds and its bits."""
    if syntax not in JPEG_LOSSY | JPEG_LOSSLESS:
        return _decoded_by_pydicom(header, syntax)
    frame = first_frame(header.PixelData)
    claim = jpeg_claim(frame)
    if is_medical(claim):
        return decode_medical(frame, claim)
    return decode_eight_bits(frame, claim)


def _decoded_by_pydicom(header: Any, syntax: str) -> npt.NDArray[Any]:
    from cxrclient.pixels.pydicom_parts import as_pixel_options, get_decoder

    plugin, decoder = _PLUGINS.get(syntax, ""), get_decoder(syntax)
    if plugin and plugin not in decoder.available_plugins:
        raise ImportError(f"pydicom has no {plugin} here")
    options = {**as_pixel_options(header), "decoding_plugin": plugin}
    if plugin:
        return in_worker(_compressed, header[PIXEL_DATA].value, str(syntax), options)
    return _by_plugin(header, syntax, options)


def _compressed(stream: bytes, syntax: str, options: dict[str, Any]) -> npt.NDArray[Any]:
    return _by_plugin(bytes(stream), syntax, options)


def _by_plugin(source: Any, syntax: str, options: dict[str, Any]) -> npt.NDArray[Any]:
    from cxrclient.pixels.pydicom_parts import get_decoder

    array, _ = get_decoder(syntax).as_array(
        source, index=0, raw=True, view_only=True, correct_unused_bits=False, **options
    )
    return np.asarray(array, dtype=array.dtype.newbyteorder("="))


def _displayed(header: Any, stored: _Stored) -> StoredFilm:
    """Take the pixels through modality LUT, VOI LUT and polarity; padding becomes black."""
    smallest, largest = ends_of(stored)
    meanings = _meanings(header, np.arange(largest + 1, dtype=np.int64), stored.dtype.itemsize * 8)
    is_padding = _is_padding(header, meanings)
    low, high = _span(stored, (smallest, largest), meanings, is_padding)
    refuse_constant(low, high)
    table, window_flags = display_table(header, meanings, low, high, is_inverse(header))
    if is_padding is not None:
        table[is_padding] = 0
    look_up = LookUp.of(table, smallest)
    flags = header_flags(header) + window_flags
    return StoredFilm(stored, look_up, padding_values=is_padding, header_flags=flags)


def _span(
    stored: _Stored, ends: tuple[int, int], meanings: _Int64, is_padding: _Bool | None
) -> tuple[int, int]:
    """Give the smallest and largest value that the film's own pixels mean; 0, 0 if it has none.

    Args:
        stored: the pixels.
        ends: smallest and largest of them.
        meanings: what each content means.
        is_padding: for each content whether it is padding.
    """
    low, high = ends
    in_order = meanings[low] == low and meanings[high] == high
    if in_order and (is_padding is None or not (is_padding[low] or is_padding[high])):
        return low, high
    # Padding at an end, signed, or with unused bits: the order is not that of the film's values.
    film = cv2.calcHist([stored], [0], None, [meanings.size], [0, meanings.size]).ravel() > 0
    if is_padding is not None:
        film &= ~is_padding
    occurring = meanings[film]
    return (int(occurring.min()), int(occurring.max())) if occurring.size else (0, 0)


def _meanings(header: Any, contents: _Int64, allocated: int) -> _Int64:
    """Give the stored value that each content of a container of `allocated` bits means.

    Pixels use BitsStored bits up to HighBit, the rest may be old overlays (PS3.5 8.1.1).
    """
    bits, shift = sample_bits(header, allocated)
    values = (contents >> shift) & ((1 << bits) - 1)
    if whole_number(header, "PixelRepresentation") == 1:
        values = np.where(values >= 1 << (bits - 1), values - (1 << bits), values)
    return values


def _is_padding(header: Any, meanings: _Int64) -> npt.NDArray[np.bool_] | None:
    """Tell for each content whether it is padding. Source: DICOM PS3.3 C.7.5.1.1.2."""
    first, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    if not isinstance(first, int):
        return None
    ends = sorted((first, limit if isinstance(limit, int) else first))
    return np.asarray((meanings >= ends[0]) & (meanings <= ends[1]))
