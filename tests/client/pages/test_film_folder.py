"""A neighbour's file is found by the id that the archive has of it."""

from __future__ import annotations

import pytest
from PIL import Image

from cxrclient.archive.identity import hashed_uid
from cxrclient.errors import UsageError
from cxrclient.films.film import path_of, read_film
from cxrclient.pages.film_folder import FilmFolder


@pytest.fixture
def folder(tmp_path, write_dicom):
    """DICOM with and without UID, with a UID that is none, PNG, JPEG, and what is no film."""
    (tmp_path / "below").mkdir()
    write_dicom(tmp_path / "a.dcm")
    write_dicom(tmp_path / "below" / "b.dcm", SOPInstanceUID=None)
    write_dicom(tmp_path / "c.dcm", SOPInstanceUID="1.2.840.99")
    Image.new("L", (8, 8), 7).save(tmp_path / "d.png")
    Image.new("L", (8, 8), 7).save(tmp_path / "e.jpg")
    (tmp_path / "f.dcm").write_bytes(b"nothing")
    (tmp_path / "g.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:200])
    return tmp_path


def paths(found):
    return {film_id: path_of(film) for film_id, film in found}


NAMES = ("a.dcm", "below/b.dcm", "c.dcm", "d.png", "e.jpg")


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_id_that_it_was_indexed_with(folder, name):
    film_id = read_film(folder / name).film_id
    assert paths(FilmFolder(folder).find([film_id])) == {film_id: str(folder / name)}


def test_hashed_ids_are_found_with_their_key(folder):
    key = b"sixteen or more characters"
    film_id = hashed_uid(read_film(folder / "c.dcm").film_id, key)
    assert paths(FilmFolder(folder, key).find([film_id])) == {film_id: str(folder / "c.dcm")}
    assert paths(FilmFolder(folder).find([film_id])) == {}


def test_a_later_question_goes_on_where_the_first_stopped(folder, monkeypatch):
    from cxrclient.pages import film_folder

    ids = [read_film(folder / name).film_id for name in NAMES]
    seen: list[str] = []
    look = film_folder.open_regular
    monkeypatch.setattr(film_folder, "open_regular", lambda path: seen.append(path) or look(path))
    films = FilmFolder(folder)
    assert paths(films.find([ids[0]]))
    assert len(seen) == 1
    assert len(paths(films.find(ids))) == 5
    assert paths(films.find([*ids, "unknown"])).keys() == set(ids)
    assert len(seen) == len(set(seen)) == 7


def test_what_is_no_folder_is_refused(folder):
    with pytest.raises(UsageError, match="no folder"):
        FilmFolder(folder / "a.dcm")
