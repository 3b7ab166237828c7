"""Many small films in the headers of hospitals, each with UIDs and patient's words of its own."""

from __future__ import annotations

import io
import json
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.charset import convert_encodings
from pydicom.uid import generate_uid

from clothes import CLOTHES
from cxrexport.phantom.collection import write_phantoms
from secrets_of_a_patient import NEEDLES, SECRETS

IDENTITY = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"),
    *("PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    "ReferringPhysicianName",
)
_DRAWN = 8
_SIZE_PX = 128


@dataclass(frozen=True)
class SentFilm:
    """A film on the disk, and what the test wants to know of it."""

    path: Path
    uid: str
    study_uid: str
    sop_class: str
    syntax: str
    clothes: str

    def identity(self) -> dict[str, bytes]:
        """The bytes of who it is of."""
        return identity_of(self.path.read_bytes())


def identity_of(file: bytes) -> dict[str, bytes]:
    """Each element of identity as it stands in a file, without its padding."""
    header = pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True)
    found = {}
    for name in IDENTITY:
        element = header.get_item(name)
        value = element.value if element is not None else b""
        found[name] = (value if isinstance(value, bytes) else b"").rstrip(b" \0")
    return found


def make_films(folder: Path, count: int, *, seed: int = 4) -> list[SentFilm]:
    """Write films, and give them; the first 17 wear each of the clothes."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as drawn:
        write_phantoms(_DRAWN, Path(drawn), seed=seed, size_px=_SIZE_PX)
        patterns = [path.read_bytes() for path in sorted(Path(drawn, "images").glob("*.dcm"))]
    dressed = [*CLOTHES, *["plain"] * count][:count]
    return [
        _write(folder / f"{number:04}.dcm", patterns[number % len(patterns)], number, clothes)
        for number, clothes in enumerate(dressed)
    ]


def _write(path: Path, pattern: bytes, number: int, clothes: str) -> SentFilm:
    film = pydicom.dcmread(io.BytesIO(pattern))
    if film.file_meta.TransferSyntaxUID.is_compressed:
        film.decompress(generate_instance_uid=False)
    film["PixelData"].VR = "OB" if film.BitsAllocated == 8 else "OW"
    # A row of its own: no two films have the same pixels.
    film.PixelData = number.to_bytes(2, "little") * 4 + film.PixelData[8:]
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(film, name, generate_uid())
    film.SpecificCharacterSet = "ISO_IR 192"
    film.PatientName, film.PatientID = SECRETS["name"], f"{SECRETS['number']}-{number}"
    film.PatientBirthDate, film.AccessionNumber = SECRETS["birth date"], SECRETS["accession"]
    film.ReferringPhysicianName = film.OperatorsName = SECRETS["physician"]
    film.InstitutionName, film.StudyDescription = SECRETS["institution"], SECRETS["text"]
    film.ImageComments = film.PatientComments = SECRETS["text"]
    film.private_block(0x0009, SECRETS["text"], create=True).add_new(1, "LO", SECRETS["unseen"])
    CLOTHES[clothes](film)
    syntax = film.file_meta.TransferSyntaxUID
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    words = film.get("SpecificCharacterSet") or "ISO_IR 6"
    film.set_original_encoding(syntax.is_implicit_VR, True, convert_encodings(words))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # words outside the clothes' characters become ?
        film.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    return SentFilm(
        *(path, str(film.SOPInstanceUID), str(film.StudyInstanceUID), str(film.SOPClassUID)),
        *(str(syntax), clothes),
    )


def words_in(data: bytes, needles: set[bytes]) -> set[bytes]:
    """Which words of a patient are in there."""
    # Digits alone are no find within a longer number.
    return {
        needle
        for needle in needles
        if needle in data
        and (not needle.isdigit() or re.search(rb"(?<![\d.])" + needle + rb"(?!\d)", data))
    }


def words_of(films: list[SentFilm]) -> set[bytes]:
    """Every word of a patient of these films, in each form that it can take in a text."""
    needles, words = set(NEEDLES), set(SECRETS.values())
    for film in films:
        raw = film.identity()["PatientName"]
        needles |= {part for part in (raw, *raw.replace(b"=", b"^").split(b"^")) if len(part) >= 6}
        words.add(str(pydicom.dcmread(film.path, stop_before_pixels=True).get("PatientName")))
    for word in words:
        parts = {part for part in word.replace("=", "^").split("^") if len(part) >= 6}
        for part in {word, *parts} - {"", "None", "WARD"}:
            needles |= {
                part.encode(),
                json.dumps(part)[1:-1].encode(),
                part.encode().hex().encode(),
            }
    return {needle for needle in needles if len(needle) >= 6}
