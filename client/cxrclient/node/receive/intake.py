"""What C-STORE and STOW-RS have in common: a whole file from a sender, and what becomes of it."""

from __future__ import annotations

import re
import sqlite3
import struct
from dataclasses import dataclass
from typing import Any, Literal

from cxrclient.errors import FilmError, NotReadable
from cxrclient.faults import INTERNAL, internal_error
from cxrclient.films import MAX_PIXELS, PIXEL_DATA, open_file, pixel_value, raw_elements
from cxrclient.node.notes import NOTES
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.records import NoRoom, Taken
from cxrclient.node.spool.spool import Spool
from cxrclient.pixels import quiet_pydicom

FILM_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture: digitised films
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture, of one frame
    "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture, likewise
)
"""SOP classes that a frontal film of the chest has. Source: DICOM PS3.4 annex B.5."""

_UID = re.compile(r"[0-9.]{1,64}")
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_SIZE = 0x00280010, 0x00280011, 0x00280100  # rows, columns, bits allocated


@dataclass(frozen=True)
class Receipt:
    """What became of an object that a sender gave us.

    Attributes:
        state: as `Spool.take` says; `refused` where nothing of it is kept.
        sop_class: its SOP Class UID; None where it says none.
        uid: its SOP Instance UID; likewise.
        code: None where all is well; `OTHER_PIXELS`, or why it was refused.
        message: one sentence to the code, without a word of the object's.
        retriable: whether the same object may be taken later.
    """

    state: Taken | Literal["refused"]
    sop_class: str | None = None
    uid: str | None = None
    code: str | None = None
    message: str = ""
    retriable: bool = False


def take_in(
    spool: Spool,
    file: bytes,
    sender: str,
    announced: tuple[str, str] | None = None,
    study: str | None = None,
) -> Receipt:
    """Take a film into the spool, or say why not; what is refused is noted.

    Args:
        spool: survives with the film whatever happens once this returns `stored`.
        file: a whole DICOM file.
        sender: AE title or address.
        announced: SOP class and instance UID of which the sender spoke; None where it did not.
        study: the only Study Instance UID that is taken; None for any.
    """
    with quiet_pydicom():
        try:
            receipt = _taken(spool, file, sender, announced, study)
        except FilmError as error:
            receipt = _refused(file, error.code, error.message, retriable=error.retriable)
        except (NoRoom, sqlite3.Error) as error:
            code = (error if isinstance(error, NoRoom) else NoRoom.of(error)).code
            receipt = _refused(file, code, NOTES[code][0], retriable=True)
        except Exception as error:
            receipt = _refused(file, INTERNAL, internal_error(error).message, retriable=True)
    if receipt.state == "refused":
        spool.note(str(receipt.code), sender=sender, uid=receipt.uid, message=receipt.message)
    return receipt


def _taken(
    spool: Spool,
    file: bytes,
    sender: str,
    announced: tuple[str, str] | None,
    study: str | None,
) -> Receipt:
    arrival = arrival_of(file, sender)
    named = arrival.sop_class, arrival.uid
    if arrival.sop_class not in FILM_CLASSES:
        raise FilmError("NOT_A_FILM", NOTES["NOT_A_FILM"][0], status="rejected")
    if announced not in (None, named):
        raise FilmError("UID_MISMATCH", NOTES["UID_MISMATCH"][0], status="rejected")
    if study not in (None, arrival.study_uid):
        raise FilmError("OTHER_STUDY", NOTES["OTHER_STUDY"][0], status="rejected")
    _refuse_truncated(file)
    state = spool.take(arrival, file)
    if state == "other_pixels":
        return Receipt(state, *named, "OTHER_PIXELS", NOTES["OTHER_PIXELS"][0])
    return Receipt(state, *named)


def _refuse_truncated(file: bytes) -> None:
    """Refuse a film whose uncompressed pixels are fewer than its header says.

    Raises:
        NotReadable: the sender has to send it again; nobody need be asked.
    """
    opened = open_file(file)
    elements = raw_elements(opened, frozenset(_SIZE))
    _, length = pixel_value(opened, elements[PIXEL_DATA])
    values = [bytes(getattr(elements.get(tag), "value", None) or b"") for tag in _SIZE]
    if length is None or any(len(value) != 2 for value in values):
        return  # compressed, or odd: the worker says of it what `cxrclient predict` says
    rows, columns, bits = struct.unpack(f"{opened.encoding.order}3H", b"".join(values))
    if length * 8 < rows * columns * bits and rows * columns <= MAX_PIXELS:
        raise NotReadable(
            "The film is truncated: it has fewer pixels than its header says. Export it again."
        )


def _refused(file: bytes, code: str, message: str, *, retriable: bool) -> Receipt:
    sop_class, uid = _named(file)
    if not retriable and sop_class is not None and sop_class not in FILM_CLASSES:
        code, message = "NOT_A_FILM", NOTES["NOT_A_FILM"][0]  # says more than that it is odd
    return Receipt("refused", sop_class, uid, code, message, retriable)


def _named(file: bytes) -> tuple[str | None, str | None]:
    """SOP class and instance UID, where the file says them."""
    try:
        elements = raw_elements(open_file(file), frozenset({_SOP_CLASS, _SOP_INSTANCE}))
    except Exception:  # pydicom's parser raises whatever damage makes it stumble over
        return None, None
    return _uid_in(elements.get(_SOP_CLASS)), _uid_in(elements.get(_SOP_INSTANCE))


def _uid_in(element: Any) -> str | None:
    value = bytes(getattr(element, "value", None) or b"")
    return known_uid(value.decode("latin-1").strip("\0 "))


def known_uid(text: str) -> str | None:
    """Give a UID that looks like one; anything else may be part of a damaged header."""
    return text if _UID.fullmatch(text) else None
