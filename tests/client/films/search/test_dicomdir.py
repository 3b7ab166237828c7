"""The films of a CD by its DICOMDIR, as pydicom writes it and as somebody may have changed it."""

from __future__ import annotations

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet

from cxrclient.errors import FilmError
from cxrclient.films.film import read_film
from cxrclient.films.search.film_search import FilmSearch


@pytest.fixture
def cd(tmp_path, write_dicom):
    """A folder with a DICOMDIR, two films that it names, and one that it does not."""
    films = FileSet()
    for number in range(2):
        film = dcmread(
            write_dicom(
                tmp_path / f"{number}.dcm",
                PatientID="P1",
                PatientName="Doe",
                StudyInstanceUID="1.2.3",
                StudyDate="20200101",
                StudyTime="120000",
                StudyID="1",
                SeriesInstanceUID="1.2.4",
                SeriesNumber=1,
                InstanceNumber=number,
            )
        )
        films.add(film)
    top = tmp_path / "cd"
    films.write(top)
    write_dicom(top / "beside.dcm")
    return top


def change(cd, old: bytes, new: bytes) -> None:
    path = cd / "DICOMDIR"
    data = path.read_bytes()
    assert old in data
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new))


def test_a_dicomdir_gives_the_films_that_it_names(cd, tmp_path):
    found = list(FilmSearch([str(cd / "DICOMDIR")]))
    assert len(found) == 2
    ids = [read_film(tmp_path / f"{number}.dcm").film_id for number in range(2)]
    assert sorted(read_film(film).film_id for film in found) == sorted(ids)
    assert all(film.startswith(str(cd / "PT000000")) for film in found)


def test_a_dicomdir_of_many_kinds_gives_its_images():
    """pydicom's own, of 31 images, which are not here."""
    path = get_testdata_file("dicomdirtests/DICOMDIR") or get_testdata_file("DICOMDIR")
    found = list(FilmSearch([str(path)]))
    assert len(found) == 31
    assert all(isinstance(film, str) for film in found)


def test_names_in_small_letters_are_found(cd):
    for path in sorted(cd.rglob("*"), reverse=True):
        if path.name != "DICOMDIR":
            path.rename(path.with_name(path.name.lower()))
    found = list(FilmSearch([str(cd / "DICOMDIR")]))
    assert [read_film(film).path for film in found] == found


def test_a_name_that_leads_out_is_not_opened(cd, write_dicom):
    write_dicom(cd.parent / "IM000000")
    change(cd, b"PT000000\\", b"..\\../..\\")
    found = list(FilmSearch([str(cd / "DICOMDIR")]))
    assert len(found) == 2
    for film in found:
        assert isinstance(film, FilmError)
        assert "not on the CD" in film.message


def test_a_link_that_leads_out_is_not_followed(cd):
    first = next(iter(FilmSearch([str(cd / "DICOMDIR")])))
    aside = cd.parent / "aside.dcm"
    (cd / first).rename(aside)
    (cd / first).symlink_to(aside)
    error, _second = FilmSearch([str(cd / "DICOMDIR")])
    assert (error.code, "not on the CD" in error.message) == ("NOT_READABLE", True)


def test_a_film_that_is_missing_is_said_when_it_is_read_and_damage_at_once(cd):
    first = next(iter(FilmSearch([str(cd / "DICOMDIR")])))
    (cd / first).unlink()
    missing, _second = FilmSearch([str(cd / "DICOMDIR")])
    with pytest.raises(FilmError, match="not there"):
        read_film(missing)
    (cd / "DICOMDIR").write_bytes((cd / "DICOMDIR").read_bytes()[:700])
    (error,) = FilmSearch([str(cd / "DICOMDIR")])
    assert (error.code, error.path) == ("NOT_READABLE", str(cd / "DICOMDIR"))
