"""From the bytes of one file to a film."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cxrclient.errors import NotReadable
from cxrclient.films import HEAD_BYTES, StreamDamaged, file_kind
from cxrclient.pixels.codecs.claims import DAMAGED, TRUNCATED, jpeg_claim, png_claim
from cxrclient.pixels.dicom import decode_dicom
from cxrclient.pixels.film import DecodedFilm, StoredFilm
from cxrclient.pixels.header import read_header
from cxrclient.pixels.raster import decode_jpeg, decode_png


def decode_film(encoded: bytes) -> DecodedFilm:
    """Decode a DICOM object, a PNG or a JPEG, told apart by its first bytes.

    Args:
        encoded: the whole file.

    Returns:
        The film, dense bright, at its own resolution.

    Raises:
        FilmError: it is empty, damaged, no film, or too large; the code says which.
    """
    return decode_stored(encoded).decoded()


def decode_stored(encoded: bytes) -> StoredFilm:
    """Decode as `decode_film`, and leave brightness to be worked out where it is needed.

    Raises:
        FilmError: as `decode_film`.
    """
    decode = {"png": decode_png, "jpeg": decode_jpeg, "dicom": decode_dicom}[_kind(encoded)]
    with _ends_told():
        return decode(encoded)


def stated_size(encoded: bytes) -> tuple[int, int]:
    """Give the width and the height that a film's header states, without decoding it.

    Raises:
        FilmError: as `decode_film`.
    """
    kind = _kind(encoded)
    with _ends_told():
        if kind == "dicom":
            header = read_header(encoded)
            return int(header.Columns), int(header.Rows)
        return (png_claim if kind == "png" else jpeg_claim)(encoded)[:2]


def _kind(encoded: bytes) -> str:
    if not encoded:
        raise NotReadable("the file is empty; copy or export it again")
    kind = file_kind(encoded[:HEAD_BYTES])
    if kind is None:
        raise NotReadable("it is neither DICOM nor PNG nor JPEG; send the film as one of these")
    return kind


@contextmanager
def _ends_told() -> Iterator[None]:
    """Make film errors of the ends that walks through a stream come to."""
    try:
        yield
    except StreamDamaged:
        raise NotReadable(DAMAGED) from None
    except EOFError:
        raise NotReadable(TRUNCATED) from None
