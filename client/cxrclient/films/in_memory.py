"""A film in memory (an array, a picture of Pillow, a data set of pydicom) → the file it would be.

What is made here is then read as any file is, so this decides nothing about what may travel. Of a
picture only the pixels are taken, of a data set only the elements that a film is read by.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.errors import FilmError, MultiFrame, NotReadable, TooLarge
from cxrclient.faults import is_ours
from cxrclient.films.dicom_file import PIXEL_DATA
from cxrclient.films.kinds import PNG_SIGNATURE
from cxrclient.films.limits import MAX_PIXELS
from cxrclient.films.transfer_syntaxes import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT

_TOP = 65535
# Source: PNG specification, third edition, section 11.2.1: grey, grey with alpha, RGB, RGBA.
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_STORED_MOST = 65535  # bytes in a block that is not compressed; source: RFC 1951, 3.2.4
_CHARACTER_SET = 0x00080005  # how the patient's number is written in bytes
# What numpy takes as it is; of the others Pillow knows the colours.
_MODES = frozenset({"L", "LA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "F"})


def file_of(source: object) -> bytes | None:
    """Write what a film in memory would be as a file; None where it is nothing of the kind.

    Args:
        source: a numpy array as `png_of_array` takes it, an image of Pillow with one frame, or a
            `pydicom.Dataset` with its pixels.

    Raises:
        FilmError: `NOT_READABLE`, `TOO_LARGE` or `MULTI_FRAME` (rejected) where no file can be
            made of it.
    """
    if isinstance(source, np.ndarray):
        return png_of_array(source)
    # Who has an image or a data set has imported what it is of.
    pillow, pydicom = sys.modules.get("PIL.Image"), sys.modules.get("pydicom.dataset")
    if pillow is not None and isinstance(source, pillow.Image):
        return png_of_array(_pixels_of(source))
    if pydicom is not None and isinstance(source, pydicom.Dataset):
        return _dicom_of(source)
    return None


# --- arrays ----------------------------------------------------------------------------------


def png_of_array(array: npt.NDArray[Any]) -> bytes:
    """Write an array as a PNG, the same bytes on every machine.

    Whole numbers of 0..65535 stay as they are. Others are moved so that the least is 0 where 16
    bits hold them all; what they do not hold, and floating point, is stretched over 16 bits from
    least to most. The server looks at order and proportions only, so that neither changes what it
    sees.

    Args:
        array: [rows, columns], the brighter the denser; or [rows, columns, 2, 3 or 4] with alpha or
            colours, of which the server takes those that are grey.

    Raises:
        NotReadable: another shape, nothing in it, no numbers, or a number that is not finite.
        TooLarge: more pixels than any film has.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in _COLOUR_TYPES or not array.size:
        raise NotReadable(
            f"The array is {list(array.shape)}, and a film is [rows, columns]. Give one film."
        )
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise TooLarge(f"The array has more than {MAX_PIXELS:,} pixels, and no film has.")
    samples = _samples(np.asarray(array))
    rows, columns = samples.shape[:2]
    kind = struct.pack(">BB3x", 8 * samples.itemsize, _COLOUR_TYPES[channels])
    lines = np.zeros((rows, 1 + columns * channels * samples.itemsize), np.uint8)  # 0: no filter
    as_written = np.ascontiguousarray(samples, samples.dtype.newbyteorder(">"))
    lines[:, 1:] = as_written.view(np.uint8).reshape(rows, -1)
    chunks = (
        (b"IHDR", struct.pack(">II", columns, rows) + kind),
        (b"IDAT", _uncompressed(lines.tobytes())),
        (b"IEND", b""),
    )
    return PNG_SIGNATURE + b"".join(_chunk(name, body) for name, body in chunks)


def _samples(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """The same picture as PNG can hold it."""
    kind = array.dtype.kind
    if kind not in "buif":
        raise NotReadable(f"The array holds {array.dtype}, and a film holds numbers.")
    if kind == "b" or array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    low, high = array.min(), array.max()
    if kind == "f":
        if not (np.isfinite(low) and np.isfinite(high)):  # NaN makes both NaN
            raise NotReadable("The array has numbers that are not finite. Fill them in.")
    elif int(low) >= 0 and int(high) <= _TOP:
        return array.astype(np.uint16)
    elif int(high) - int(low) <= _TOP:
        return (array.astype(np.int64) - int(low)).astype(np.uint16)
    values = array.astype(np.float64 if array.dtype.itemsize > 4 or kind != "f" else np.float32)
    width = float(high) - float(low)
    values = (values - low) * (_TOP / width) if width else np.zeros_like(values)
    return np.rint(values).astype(np.uint16)


def _uncompressed(data: bytes) -> bytes:
    """A zlib stream of stored blocks: what a compressor makes changes with its version."""
    return b"".join((b"\x78\x01", *_blocks(data), struct.pack(">I", zlib.adler32(data))))


def _blocks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _STORED_MOST):
        block = data[start : start + _STORED_MOST]
        is_last = start + _STORED_MOST >= len(data)
        yield struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF) + block


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(name))
    return b"".join((struct.pack(">I", len(body)), name, body, struct.pack(">I", checksum)))


# --- pictures --------------------------------------------------------------------------------


def _pixels_of(image: Any) -> npt.NDArray[Any]:
    if getattr(image, "n_frames", 1) > 1:
        raise MultiFrame("The image has several frames. Give the one that is the film: a copy().")
    try:
        if image.mode not in _MODES:
            shown_as = (
                "L" if image.mode == "1" else "RGBA" if image.has_transparency_data else "RGB"
            )
            image = image.convert(shown_as)
        return np.asarray(image)
    except Exception as error:  # each format's reader raises its own kinds
        if is_ours(error):
            raise
        raise NotReadable(
            f"Pillow cannot read the image ({type(error).__name__}). Is its file whole and open?"
        ) from error


# --- data sets -------------------------------------------------------------------------------


def _dicom_of(dataset: Any) -> bytes:
    """The data set as a file, with the elements that a film is read by and no others."""
    from cxrclient.films.pydicom_parts import Dataset, FileMetaDataset, dcmwrite
    from cxrclient.films.stripping import WANTED_TAGS

    try:
        syntax = _syntax_of(dataset)
        encoding = (syntax == IMPLICIT, syntax != BIG_ENDIAN)
        film = Dataset()
        film.file_meta = FileMetaDataset()
        film.file_meta.TransferSyntaxUID = syntax
        for tag in (_CHARACTER_SET, *WANTED_TAGS, PIXEL_DATA):
            if tag in dataset:
                element = dataset.get_item(tag)
                as_it_was = not element.is_raw or encoding == element[5:7]
                film[tag] = element if as_it_was else dataset[tag]
        file = BytesIO()
        dcmwrite(file, film, enforce_file_format=False)
        return file.getvalue()
    except FilmError:
        raise
    except Exception as error:  # pydicom raises whatever a value makes it stumble over
        if is_ours(error):
            raise
        raise NotReadable(
            f"The data set cannot be written as a DICOM file ({type(error).__name__}). Has it "
            "pixels, rows and columns, and in `file_meta` the transfer syntax of its pixels?"
        ) from error


def _syntax_of(dataset: Any) -> str:
    """The transfer syntax that its pixels are in."""
    named = str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", "") or "")
    if named:  # in memory nothing is deflated
        return EXPLICIT if named == DEFLATED else named
    implicit, little_endian = dataset.original_encoding
    if little_endian is False:
        return BIG_ENDIAN
    return IMPLICIT if implicit else EXPLICIT
