"""No secret of the patient is in a film's payload."""

from __future__ import annotations

import zlib
from pathlib import Path

import pydicom
import pytest

from cxrclient.errors import FilmError
from cxrclient.films.film import read_film
from cxrclient.films.in_memory import file_of
from secrets_of_a_patient import (
    ALL_KINDS,
    DICOM_KINDS,
    NAME,
    SECRETS,
    forms,
    found_in,
)


def test_the_search_finds_a_secret_in_each_of_its_forms() -> None:
    """Without this, the rest could prove nothing."""
    for text in SECRETS.values():
        assert found_in(b"..." + text.encode() + b"...")
    assert found_in("zörnström".encode("latin-1"))
    assert found_in("JÜRGEN".encode("utf-16-be"))
    assert found_in(NAME.encode().hex().encode())
    assert not found_in(bytes(range(256)) * 40)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_films_payload_holds_none_of_its_secrets(kind: str, films: dict[str, Path]) -> None:
    encoded = films[kind].read_bytes()
    if kind == "deflated":
        start = 144 + int.from_bytes(encoded[140:144], "little")
        encoded = zlib.decompress(encoded[start:], wbits=-zlib.MAX_WBITS)
    assert len(found_in(encoded)) >= 8
    assert found_in(read_film(films[kind]).payload) == set()


@pytest.mark.parametrize("kind", DICOM_KINDS)
def test_no_more_of_a_data_set_is_written_than_a_film_is_read_by(
    kind: str, films: dict[str, Path]
) -> None:
    data_set = pydicom.dcmread(films[kind])
    read = read_film(data_set)
    assert found_in(read.payload) == set()
    str(data_set)  # decodes every element
    assert read_film(data_set) == read == read_film(films[kind])
    # The file that is made on the way has what a film is read by, functional groups too.
    known = [forms(SECRETS[name]) for name in ("number", "institution", "text")]
    elsewhere = found_in(file_of(data_set) or b"") - found_in(data_set.PixelData)
    assert elsewhere <= set().union(*known)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, here in the test itself
def test_no_value_of_a_patient_in_pydicoms_own_files_is_in_a_payload() -> None:
    """Names of real writers, in many alphabets, as their bytes are in the file."""
    import pydicom.data

    folder, looked_at = Path(pydicom.data.__file__).parent, 0
    for path in sorted([*folder.glob("test_files/*.dcm"), *folder.glob("charset_files/*.dcm")]):
        if path.stat().st_size > 300_000:
            continue
        try:
            payload = read_film(path).payload
        except FilmError:
            continue
        header = pydicom.dcmread(path, stop_before_pixels=True)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "InstitutionName",
                        "ReferringPhysicianName", "StudyDescription", "StudyInstanceUID",
                        "SOPInstanceUID", "Manufacturer", "StudyDate"):  # fmt: skip
            element = header.get_item(keyword)
            raw = bytes(getattr(element, "value", None) or b"").strip(b"\0 ")
            if len(raw) >= 6:  # shorter ones may stand in pixels by chance
                looked_at += 1
                assert raw not in payload, f"{path.name}: {keyword}"
    assert looked_at > 200
