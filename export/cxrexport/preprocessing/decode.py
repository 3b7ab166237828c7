"""From the bytes of one file to a film."""

from __future__ import annotations

from cxrexport.errors import NotReadable
from cxrexport.preprocessing.dicom import decode_dicom, is_dicom
from cxrexport.preprocessing.film import DecodedFilm, StoredFilm
from cxrexport.preprocessing.raster import decode_jpeg, decode_png
from cxrexport.preprocessing.structure import JPEG_MAGIC, PNG_MAGIC

__all__ = ["decode_film", "read_film"]


def decode_film(encoded: bytes) -> DecodedFilm:
    """Decode a DICOM object, a PNG or a JPEG, told apart by its first bytes.

    Args:
        encoded: the whole file.

    Returns:
        The film, dense bright, at its own resolution.

    Raises:
        FilmError: it is empty, damaged, no film, or too large; the code says which.
    """
    return read_film(encoded).decoded()


def read_film(encoded: bytes) -> StoredFilm:
    """Read what `decode_film` decodes, and leave brightness to be worked out where it is needed.

    Raises:
        FilmError: as `decode_film`.
    """
    if not encoded:
        raise NotReadable("the file is empty; copy or export it again")
    if encoded.startswith(PNG_MAGIC):
        return decode_png(encoded)
    if encoded.startswith(JPEG_MAGIC):
        return decode_jpeg(encoded)
    if is_dicom(encoded):
        return decode_dicom(encoded)
    raise NotReadable("it is neither DICOM nor PNG nor JPEG; send the film as one of these")
