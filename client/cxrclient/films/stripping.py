"""A DICOM object → a small new one that holds an image, and no person.

Nothing is deleted: an empty object is filled from a list. Numbers travel when they are numbers,
code strings when their words are in a vocabulary, so that a name typed into BodyPartExamined
stays at home too. Overlays, private tags, dates, names, comments and explanations are not in the
list. UIDs that identify are not either; the film's own UID goes to the local archive only.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from cxrclient.errors import FilmError, NoPixels, NotReadable
from cxrclient.faults import is_ours
from cxrclient.files import in_years
from cxrclient.films.code_strings import (
    BODY_PARTS,
    MODALITIES,
    PHOTOMETRIC_INTERPRETATIONS,
    VIEWS,
    known_words,
)
from cxrclient.films.dicom_file import (
    PIXEL_DATA,
    DicomFile,
    Encoding,
    ends_early,
    file_meta,
    open_file,
    pixel_data,
    raw_elements,
    refuse_other_syntaxes,
    write_element,
)
from cxrclient.films.dicom_pixels import PixelLayout
from cxrclient.films.functional_groups import (
    FUNCTIONAL_GROUPS,
    NUMBER_OF_FRAMES,
    items_of,
    refuse_long_values,
    refuse_several_frames,
    with_functional_groups,
)
from cxrclient.films.kinds import PREAMBLE

_SOP_CLASS = 0x00080016
_SAMPLES_PER_PIXEL = 0x00280002
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT = 0x00280100, 0x00280101, 0x00280102
_PIXEL_REPRESENTATION = 0x00280103
_LUT_DESCRIPTOR, _LUT_DATA = 0x00283002, 0x00283006
_OVERLAY_POSITIONS = tuple(0x60000102 + (group << 17) for group in range(16))  # 6000, 6002, …
_DAYS = 0x00120052  # LongitudinalTemporalOffsetFromEvent
_FACTS = {
    "sop_instance_uid": 0x00080018,
    "event": 0x00120053,  # LongitudinalTemporalEventType
    "patient_id": 0x00100020,
    "patient_issuer": 0x00100021,
    "sex": 0x00100040,
    "age": 0x00101010,
    "view": 0x00185101,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
}


class _Rule(NamedTuple):
    """How one attribute may travel: its VR, and for code strings the words that may."""

    vr: str
    words: frozenset[str] = frozenset()
    values: int = 1
    essential: bool = False  # the image means nothing without it: damaged, the film is rejected


# Source: DICOM PS3.3 C.7.6.3 (pixels), C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.5.1.1.2
# (padding), C.8.11.3.1.5 (presentation LUT shape). In the order of their tags, as PS3.5 wants.
_RULES = {
    _SOP_CLASS: _Rule("UI"),
    0x00080060: _Rule("CS", MODALITIES),
    0x00080068: _Rule("CS", frozenset({"FOR PRESENTATION", "FOR PROCESSING"})),
    0x00180015: _Rule("CS", BODY_PARTS),
    0x00185101: _Rule("CS", VIEWS),
    _SAMPLES_PER_PIXEL: _Rule("US", essential=True),
    0x00280004: _Rule("CS", PHOTOMETRIC_INTERPRETATIONS, essential=True),
    0x00280006: _Rule("US"),  # PlanarConfiguration
    NUMBER_OF_FRAMES: _Rule("IS", essential=True),
    _ROWS: _Rule("US", essential=True),
    _COLUMNS: _Rule("US", essential=True),
    _BITS_ALLOCATED: _Rule("US", essential=True),
    _BITS_STORED: _Rule("US", essential=True),
    _HIGH_BIT: _Rule("US", essential=True),
    _PIXEL_REPRESENTATION: _Rule("US", essential=True),
    0x00280120: _Rule("US or SS"),  # PixelPaddingValue
    0x00280121: _Rule("US or SS"),  # PixelPaddingRangeLimit
    0x00280301: _Rule("CS", frozenset({"YES", "NO"})),  # BurnedInAnnotation
    0x00281050: _Rule("DS", values=16),  # WindowCenter
    0x00281051: _Rule("DS", values=16),  # WindowWidth
    0x00281052: _Rule("DS", essential=True),  # RescaleIntercept
    0x00281053: _Rule("DS", essential=True),  # RescaleSlope
    0x00281056: _Rule("CS", frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"})),  # VOILUTFunction
    0x00282110: _Rule("CS", frozenset({"00", "01"})),  # LossyImageCompression
    0x00283000: _Rule("SQ", essential=True),  # ModalityLUTSequence
    0x00283010: _Rule("SQ"),  # VOILUTSequence
    0x20500020: _Rule("CS", frozenset({"IDENTITY", "INVERSE"})),  # PresentationLUTShape
}
IMAGE_TAGS = frozenset(_RULES)
"""What an image is seen through: all that decoding reads, and all that may travel."""
_SEQUENCES = {tag for tag, rule in _RULES.items() if rule.vr == "SQ"}
WANTED_TAGS = {*_RULES, _DAYS, *_FACTS.values(), *FUNCTIONAL_GROUPS, *_OVERLAY_POSITIONS}
"""What a film is read by, beside its pixels: what may travel, and what is to be known here."""
# What kind of object it is; private classes stay behind. Source: DICOM PS3.6 annex A.
_STORAGE_CLASS = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1(\.\d{1,3}){1,4}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def dicom_parts(data: bytes) -> tuple[list[bytes | memoryview], dict[str, Any]]:
    """Split a DICOM file into what is sent and what stays.

    Args:
        data: the file, with or without preamble and file meta information.

    Returns:
        The payload in parts, pixels that need no cleaning uncopied: a DICOM file of the same
        transfer syntax (a deflated one is inflated); and the facts that stay: sop_instance_uid,
        patient_id, patient_issuer, study_uid, series_uid, view, sex, age, days.

    Raises:
        FilmError: `NOT_READABLE` (rejected) where the header is damaged or the file ends early,
            `MULTI_FRAME` or `NO_PIXELS` (rejected) where it has not just one image.
    """
    try:
        file = open_file(data)
        refuse_other_syntaxes(file)
        found = raw_elements(file, WANTED_TAGS)
        refuse_several_frames(found)
        if PIXEL_DATA not in found:
            if ends_early(file):
                raise EOFError
            raise NoPixels("This DICOM object holds no image. Send the object with the film.")
        elements = with_functional_groups(found)
        # Sequences are bounded where they are read.
        values = elements.keys() - {PIXEL_DATA, *FUNCTIONAL_GROUPS, *_SEQUENCES}
        refuse_long_values(elements[tag] for tag in values)
        return _payload(file, elements), _facts(elements)
    except FilmError:
        raise
    except (EOFError, struct.error, zlib.error) as error:
        raise _damaged("The DICOM file ends too early or is damaged") from error
    except Exception as error:  # pydicom's parser raises whatever damage makes it stumble over
        if is_ours(error):
            raise
        raise _damaged("The DICOM header is damaged") from error


def _damaged(what: str) -> NotReadable:
    return NotReadable(f"{what}. Export the film again.")


def _payload(file: DicomFile, elements: Mapping[int, Any]) -> list[bytes | memoryview]:
    signed = _is_signed(elements, file.encoding)
    parts: list[bytes | memoryview] = [PREAMBLE, file_meta(file.syntax)]
    for tag, rule in _RULES.items():
        if tag in elements:
            parts.append(_cleaned(tag, rule, elements[tag], file.written, signed))
    layout = _pixel_layout(elements, file.encoding)
    return parts + pixel_data(file, elements[PIXEL_DATA], layout)


def _is_signed(elements: Mapping[int, Any], encoding: Encoding) -> bool:
    return _whole_number(elements, _PIXEL_REPRESENTATION, encoding) == 1


def _pixel_layout(elements: Mapping[int, Any], encoding: Encoding) -> PixelLayout:
    def number(tag: int) -> int | None:
        return _whole_number(elements, tag, encoding)

    frames = _raw(elements.get(NUMBER_OF_FRAMES)).strip(b"\0 ")
    pixels = (number(_ROWS) or 0) * (number(_COLUMNS) or 0) * (int(frames) if frames else 1)
    return PixelLayout(
        samples=pixels * (number(_SAMPLES_PER_PIXEL) or 1),
        allocated=number(_BITS_ALLOCATED) or 0,
        stored=number(_BITS_STORED) or 0,
        high_bit=number(_HIGH_BIT),
        signed=_is_signed(elements, encoding),
        overlaid=any(map(number, _OVERLAY_POSITIONS)),
    )


def _whole_number(elements: Mapping[int, Any], tag: int, encoding: Encoding) -> int | None:
    """An attribute of VR US; None where it is missing or damaged."""
    raw = _raw(elements.get(tag))
    return int(struct.unpack(encoding.order + "H", raw)[0]) if len(raw) == 2 else None


def _raw(element: Any) -> bytes:
    """The bytes of a raw element as they are in the file; empty where there is none."""
    return bytes(element.value or b"") if element is not None else b""


def _cleaned(tag: int, rule: _Rule, element: Any, encoding: Encoding, signed: bool) -> bytes:
    """The element as it may travel; empty where it must not, or says nothing."""
    if rule.vr == "SQ":
        return _cleaned_sequence(tag, element, encoding, signed)
    raw = _raw(element)
    is_text = rule.vr in ("CS", "DS", "IS", "UI")
    if not (raw.strip(b"\0 ") if is_text else raw):
        return b""
    value = _cleaned_text(rule, raw) if is_text else _cleaned_numbers(rule, raw)
    if not value:
        if rule.essential:
            raise _damaged(f"The DICOM attribute ({tag >> 16:04X},{tag & 0xFFFF:04X}) is damaged")
        return b""
    vr = rule.vr
    if vr == "US or SS":
        vr = element.VR if element.VR in ("US", "SS") else "SS" if signed else "US"
    return write_element(tag, vr, value, encoding)


def _cleaned_text(rule: _Rule, raw: bytes) -> bytes:
    text = raw.decode("latin-1").strip("\0 ")
    if rule.vr == "CS":
        clean = known_words(text, rule.words)
    elif rule.vr == "UI":
        clean = text if _STORAGE_CLASS.fullmatch(text) else ""
    else:
        numbers = [part.strip() for part in text.split("\\")][: rule.values]
        clean = "\\".join(numbers) if all(map(_NUMBER.fullmatch, numbers)) else ""
    return clean.encode() + (b"\0" if rule.vr == "UI" else b" ") * (len(clean) % 2)


def _cleaned_numbers(rule: _Rule, raw: bytes) -> bytes:
    return raw if rule.vr == "OW" or len(raw) == 2 * rule.values else b""


def _cleaned_sequence(tag: int, element: Any, encoding: Encoding, signed: bool) -> bytes:
    """Items with LUTDescriptor and LUTData: no explanation, no type, no more bytes than entries."""
    items = []
    for item in items_of(element):
        descriptor, lut = item.get_item(_LUT_DESCRIPTOR), item.get_item(_LUT_DATA)
        if descriptor is None or lut is None or len(_raw(descriptor)) != 6:
            continue
        # At most 16 bits an entry; 0 means 65536 entries. Source: DICOM PS3.3 C.11.1.1.1.
        entries = struct.unpack_from(encoding.order + "H", _raw(descriptor))[0] or 65536
        body = _cleaned(_LUT_DESCRIPTOR, _Rule("US or SS", values=3), descriptor, encoding, signed)
        body += write_element(_LUT_DATA, "OW", _raw(lut)[: 2 * entries], encoding)
        items.append(struct.pack(encoding.order + "HHI", 0xFFFE, 0xE000, len(body)) + body)
    return write_element(tag, "SQ", b"".join(items), encoding) if items else b""


def _facts(elements: Mapping[int, Any]) -> dict[str, Any]:
    def text(name: str) -> str | None:
        raw = _raw(elements.get(_FACTS[name]))
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError:
            value = raw.decode("latin-1")  # any byte is a letter: distinct ids stay distinct
        return value.strip("\0 ") or None

    uid = text("sop_instance_uid")
    age = re.fullmatch(r"(\d{1,3})([DWMY])", text("age") or "")
    sex = text("sex")
    return {
        "sop_instance_uid": uid if uid and re.fullmatch(r"[0-9.]{1,64}", uid) else None,
        "patient_id": text("patient_id"),
        "patient_issuer": text("patient_issuer"),
        "study_uid": text("study_uid"),
        "series_uid": text("series_uid"),
        "view": known_words(text("view") or "", VIEWS) or None,
        "sex": sex if sex in ("M", "F", "O") else None,
        "age": in_years(int(age[1]), age[2]) if age else None,
        "days": _days(elements.get(_DAYS)) if text("event") == "BASELINE" else None,
    }


def _days(element: Any) -> float | None:
    """Days since the baseline study. Source: DICOM PS3.3 C.7.2.3, PS3.5 6.2 (FD)."""
    raw = _raw(element)
    if len(raw) != 8:
        return None
    (days,) = struct.unpack("<d" if element.is_little_endian else ">d", raw)
    return float(days) if math.isfinite(days) else None
