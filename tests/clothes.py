"""The headers that hospitals give their films; source: ../shared/PACS.md, "The 17 clothes"."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

Dress = Callable[[Dataset], None]


def _raw(film: Dataset, name: str, value: bytes) -> None:
    """Put an element in as bytes, which no library would write."""
    tag = tag_for_keyword(name)
    value += b" " * (len(value) % 2)
    film[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)


def _charset(*sets: bytes, name: bytes) -> Dress:
    def dress(film: Dataset) -> None:
        _raw(film, "SpecificCharacterSet", b"\\".join(sets))
        _raw(film, "PatientName", name)

    return dress


def _empty(film: Dataset) -> None:
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID",
                 "AccessionNumber", "StudyTime", "ReferringPhysicianName"):  # fmt: skip
        setattr(film, name, None)


def _absent(film: Dataset) -> None:
    for name in ("PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber",
                 "StudyDate", "ReferringPhysicianName", "SpecificCharacterSet"):  # fmt: skip
        if name in film:
            delattr(film, name)


def _issuer(film: Dataset) -> None:
    film.IssuerOfPatientID = "HOSPITAL"
    item = Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = "1.2.3.4", "ISO"
    film.IssuerOfPatientIDQualifiersSequence = [item]
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID, other.TypeOfPatientID = "77", "OTHER", "TEXT"
    film.OtherPatientIDsSequence = [other]


def _bad_values(film: Dataset) -> None:
    for name, value in (("PatientSex", b"m"), ("PatientBirthDate", b"UNKNOWN"),
                        ("StudyTime", b"25:61"), ("PatientAge", b"62")):  # fmt: skip
        _raw(film, name, value)


def _implicit(film: Dataset) -> None:
    list(film.iterall())  # read by now: else a sequence would stay as it was, in explicit bytes
    film.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


CLOTHES: dict[str, Dress] = {
    "plain": lambda film: None,
    "latin 1": _charset(b"ISO_IR 100", name="Müller^Jörg".encode("latin-1")),
    "utf-8": _charset(b"ISO_IR 192", name="Čapek^Łukasz".encode()),
    "japanese, first set empty": _charset(
        b"", b"ISO 2022 IR 87", name=b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"
    ),
    "cyrillic": _charset(b"ISO_IR 144", name=bytes.fromhex("bbeeda63d5dcd1eb70d3")),
    "issuer of the patient's number": _issuer,
    "empty": _empty,
    "absent": _absent,
    "one-word name": lambda film: setattr(film, "PatientName", "WARD"),
    "implicit": _implicit,
    "rle": lambda film: film.compress(RLELossless, generate_instance_uid=False),
    "empty orientation": lambda film: setattr(film, "PatientOrientation", None),
    "korean": _charset(
        b"", b"ISO 2022 IR 149", name=b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"
    ),
    "chinese": _charset(b"GB18030", name="Wang^XiaoDong=王^小东".encode("gb18030")),
    "slanted orientation": lambda film: setattr(film, "PatientOrientation", ["LA", "FP"]),
    "bad values": _bad_values,
    "set that is named for nothing": lambda film: _raw(film, "SpecificCharacterSet", b"ISO_IR 6"),
}
