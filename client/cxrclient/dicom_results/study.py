"""A film's header as its results need it: what makes them part of its study, copied as it stands.

Headers of hospitals hold what no library builds again: unknown sexes, dates that are words, texts
in character sets that start empty. So results are built with a neutral header, and then get the
film's own elements, byte for byte. What we write ourselves is ASCII, which every set holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cxrclient.dicom_results.pydicom_parts import (
    DataElement,
    Dataset,
    RawDataElement,
    dictionary_VR,
    tag_for_keyword,
)
from cxrclient.errors import FilmError
from cxrclient.faults import is_ours
from cxrclient.films import FUNCTIONAL_GROUPS, items_of, open_file, raw_elements, refuse_long_values

ORDINARY = "1.2.840.10008.5.1.4.1.1.1"
"""Computed Radiography: the class that libraries take a film for, whatever its own."""

# Type 2: in each result, empty where the film does not say. Source: DICOM PS3.3 C.7.1.1, C.7.2.1.
_ALWAYS = (
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName"),
    *("PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID"),
)
# Source: DICOM PS3.3 C.7.1.1 (patient), C.7.2.1 (study), C.7.2.2 (patient's study), C.7.1.3 and
# C.7.2.3 (clinical trial).
_WHERE_SAID = (
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC", "StudyDescription", "ProcedureCodeSequence"),
    *(
        "IssuerOfAccessionNumberSequence",
        "IssuerOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
    ),
    *("PatientBirthTime", "OtherPatientIDsSequence", "PatientAge", "PatientSize", "PatientWeight"),
    *("EthnicGroup", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID"),
    *("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName"),
    *("ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID"),
    "ClinicalTrialTimePointDescription",
)
_READ = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "ContentDate", "ContentTime"),
    *("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "SeriesDate", "SeriesTime"),
    *(
        "PatientOrientation",
        "ImagerPixelSpacing",
        "PixelSpacing",
        "PhotometricInterpretation",
        "WindowCenter",
    ),
    *("WindowWidth", "RescaleSlope", "RescaleIntercept", "BurnedInAnnotation"),
)
_TAGS = {name: int(tag_for_keyword(name) or 0) for name in (*_ALWAYS, *_WHERE_SAID, *_READ)}
# What an outline's state would have to repeat, and does not.
MANUFACTURER = "cxr-triton"
"""What we made says so in (0008,0070)."""
_OTHER_LOOK_UPS = frozenset({0x00283000, 0x00283010, 0x00281056, *FUNCTIONAL_GROUPS})
_DATES = ("Content", "Acquisition", "Series", "Study")
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
NO_DATE = ("19700101", "000000")
_SAID = ("YES", "NO")


@dataclass(frozen=True, repr=False)
class FilmHeader:
    """What results take from a film's header; it identifies, and is in no repr.

    Attributes:
        study_uid: (0020,000D); as the next three it is there, and looks like a UID.
        series_uid: (0020,000E).
        sop_uid: (0008,0018).
        sop_class: (0008,0016).
        orientation: (0020,0020), the patient's sides to which rows and columns run, two words of
            `A P L R H F`; None where it does not say so.
        spacing_mm: between pixel centres, (rows, columns), positive; None where it does not say.
        inverse: whether small values are bright (MONOCHROME1).
        window: centre and width of the first window; None where there is none.
        rescale: slope and intercept of the modality LUT.
        plain_window: whether these are all that the film is seen through.
        burned_in: `YES` or `NO`, whether something is written on it; None where it does not say.
        moment: date `YYYYMMDD` and time `HHMMSS` of the film; the first of 1970 where it has none.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    orientation: tuple[str, str] | None
    spacing_mm: tuple[float, float] | None
    inverse: bool
    window: tuple[float, float] | None
    rescale: tuple[float, float]
    plain_window: bool
    burned_in: str | None
    moment: tuple[str, str]
    _elements: dict[int, Any]

    def put_into(self, result: Dataset) -> None:
        """Give a result the identity of the film's patient and study, and the film's words."""
        for name in (*_ALWAYS, *_WHERE_SAID):
            tag = _TAGS[name]
            if tag in self._elements:
                result[tag] = _as_it_stands(self._elements[tag])
            elif name in _ALWAYS:
                result[tag] = DataElement(tag, dictionary_VR(tag), None)
            elif tag in result:
                del result[tag]

    def neutral(self, rows: int, columns: int) -> Dataset:
        """Give a header that any library takes for the film's: of an ordinary class."""
        film = Dataset()
        film.SOPClassUID, film.SOPInstanceUID = ORDINARY, self.sop_uid
        film.StudyInstanceUID, film.SeriesInstanceUID = self.study_uid, self.series_uid
        film.Modality, film.Rows, film.Columns = "DX", rows, columns
        for name in _ALWAYS:
            if name not in film:
                setattr(film, name, None)
        if self.orientation:
            film.PatientOrientation = list(self.orientation)
        if self.spacing_mm:
            film.ImagerPixelSpacing = list(self.spacing_mm)
        return film


def read_film_header(data: bytes) -> FilmHeader:
    """Read what results take from a film's header.

    Args:
        data: a DICOM file.

    Raises:
        FilmError: `NO_STUDY` (rejected), where it is no DICOM file, or does not say which study,
            series and object it is.
    """
    try:
        elements = raw_elements(open_file(data), _OTHER_LOOK_UPS.union(_TAGS.values()))
        refuse_long_values(elements[tag] for tag in _TAGS.values() if tag in elements)
        looked_up = not _OTHER_LOOK_UPS.isdisjoint(elements)
    except FilmError:
        raise
    except Exception as error:
        if is_ours(error):
            raise
        elements, looked_up = {}, True
    text = _reader(elements)
    if not re.fullmatch(r"[0-9]{3}[DWMY]", text("PatientAge")):
        elements.pop(_TAGS["PatientAge"], None)  # optional: of no use where it is malformed
    study, series, sop, sop_class = uids = [
        text(name)
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
    ]
    if not all(_UID.fullmatch(uid) and len(uid) <= 64 for uid in uids):
        raise FilmError(
            "NO_STUDY",
            "The film does not say which study, series and object it is, so its results have no "
            "study to go to. Send it as a DICOM file with its UIDs.",
            status="rejected",
        )
    window = _numbers(text("WindowCenter"), text("WindowWidth"))
    rescale = _numbers(text("RescaleSlope"), text("RescaleIntercept")) or (1.0, 0.0)
    return FilmHeader(
        study_uid=study,
        series_uid=series,
        sop_uid=sop,
        sop_class=sop_class,
        orientation=_orientation(text("PatientOrientation")),
        spacing_mm=_spacing(text("PixelSpacing")) or _spacing(text("ImagerPixelSpacing")),
        inverse=text("PhotometricInterpretation") == "MONOCHROME1",
        window=window,
        rescale=rescale,
        plain_window=not looked_up and rescale[0] != 0 and (window is None or window[1] >= 1),
        burned_in=burned_in if (burned_in := text("BurnedInAnnotation")) in _SAID else None,
        moment=_moment(text),
        _elements=elements,
    )


def _reader(elements: dict[int, Any]) -> Callable[[str], str]:
    def text(name: str) -> str:
        value = getattr(elements.get(_TAGS[name]), "value", None)
        return value.decode("latin-1").strip("\0 ") if isinstance(value, bytes) else ""

    return text


def _as_it_stands(element: Any) -> DataElement | RawDataElement:
    """An element of the film with its very bytes; sequences are written anew."""
    tag, vr = element.tag, dictionary_VR(element.tag)
    if vr == "SQ":
        return DataElement(tag, vr, list(items_of(element)))
    value = element.value or b""
    value += b" " * (len(value) % 2)
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


def _orientation(text: str) -> tuple[str, str] | None:
    words = [word.strip() for word in text.split("\\")]
    if len(words) != 2 or not all(re.fullmatch("[APLRHF]{1,3}", word) for word in words):
        return None
    return words[0], words[1]


def _spacing(text: str) -> tuple[float, float] | None:
    numbers = _numbers(*text.split("\\", 1)) if text.count("\\") == 1 else None
    return numbers if numbers and all(0 < each < 100 for each in numbers) else None


def _numbers(one: str, other: str) -> tuple[float, float] | None:
    """Two numbers, the first one of each text; None where one is none."""
    try:
        pair = float(one.split("\\")[0]), float(other.split("\\")[0])
    except ValueError:
        return None
    return pair if all(map(math.isfinite, pair)) else None


def _is_a_day(date: str) -> bool:
    try:
        datetime.strptime(date, "%Y%m%d")
    except ValueError:
        return False
    return True


def _moment(text: Callable[[str], str]) -> tuple[str, str]:
    said = [(text(f"{name}Date"), text(f"{name}Time")) for name in _DATES]
    together = text("AcquisitionDateTime")
    said.insert(2, (together[:8], together[8:]))  # after those of the acquisition that stand apart
    for date, time in said:
        if re.fullmatch(r"(19|20)[0-9]{6}", date) and _is_a_day(date):
            good = re.match(r"([01]\d|2[0-3])[0-5]\d[0-5]\d", time)
            return date, good.group() if good else "000000"
    return NO_DATE
