"""A film's file as it comes: which one it is, and whether its pixels are those of another."""

from __future__ import annotations

from cxrclient.dicom_results import MANUFACTURER, read_film_header
from cxrclient.errors import FilmError, NoPixels
from cxrclient.files import sha256_of
from cxrclient.films import PIXEL_DATA, open_file, raw_elements, read_parts
from cxrclient.node.notes import NOTES
from cxrclient.node.spool.records import Arrival
from cxrclient.pixels import decode_stored, quiet_pydicom

_MANUFACTURER = 0x00080070


def arrival_of(file: bytes, sender: str = "") -> Arrival:
    """Read which film a file is.

    Args:
        file: a whole DICOM file.
        sender: AE title or address.

    Raises:
        FilmError: it cannot be read as a film, does not say which study, series and object it is
            (`NO_STUDY`), or is a picture that we made (`OWN_RESULT`): a PACS that routes whole
            studies sends it back.
    """
    with quiet_pydicom():
        read_parts(file)  # not put together: that would copy the pixels
        header = read_film_header(file)
        opened = open_file(file)
        elements = raw_elements(opened, frozenset({_MANUFACTURER}))
    at = elements.get(PIXEL_DATA)
    if at is None:
        raise NoPixels("The object has no pixels.")
    made_by = bytes(getattr(elements.get(_MANUFACTURER), "value", None) or b"").decode("latin-1")
    if made_by.strip("\0 ") == MANUFACTURER:
        raise FilmError("OWN_RESULT", NOTES["OWN_RESULT"][0], status="rejected")
    return Arrival(
        uid=header.sop_uid,
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        sop_class=header.sop_class,
        pixels=sha256_of([opened.syntax.encode(), memoryview(opened.data)[at:]]),
        sender=sender,
    )


def values_of(file: bytes) -> str | None:
    """Digest a film's decoded values, however encoded; None where they cannot be decoded."""
    try:
        return decode_stored(file).digest()
    except FilmError:
        return None
