"""Films in a zip, and zips that are made to harm."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from cxrclient.errors import FilmError
from cxrclient.films.film import read_film
from cxrclient.films.search.film_search import FilmSearch
from cxrclient.runs.journal import file_identity


@pytest.fixture
def packed(tmp_path, write_dicom):
    """A zip with three films among what is none, and their UIDs by path in it."""
    films = {}
    path = tmp_path / "pile.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pile:
        for name in ("b/2.dcm", "a/IM1", "c.png.dcm"):
            film = write_dicom(tmp_path / name.replace("/", "_"))
            pile.write(film, name)
            films[name] = read_film(film).film_id
            film.unlink()
        pile.writestr("a/letter.txt", "Dear colleague")
        pile.writestr("__MACOSX/a/._IM1", "no film")
        pile.writestr(".hidden/x.dcm", "no film")
        pile.writestr("DICOMDIR", "no film")
        pile.writestr("inner.ZIP", b"PK")
    return path, films


@pytest.mark.parametrize("named", [True, False])
def test_a_zip_gives_its_films_sorted_and_counts_the_rest(packed, named):
    path, films = packed
    search = FilmSearch([str(path if named else path.parent)])
    found = list(search)
    assert found == [f"{path}/{name}" for name in sorted(films)]
    assert search.skipped.kinds == {
        ".txt": 1,
        "hidden": 2,
        "DICOMDIR": 1,
        "zip within a zip": 1,
    }
    assert [read_film(film).film_id for film in found] == [films[name] for name in sorted(films)]
    assert read_film(found[0]).path == str(found[0])
    assert len(list(search.names_alone())) == 4  # by names, the letter may be one


def test_a_film_in_a_zip_is_found_again_by_the_path_of_its_result(packed):
    path, films = packed
    (film,) = FilmSearch([f"{path}/a/IM1"])
    assert read_film(film).film_id == films["a/IM1"]
    before = file_identity(f"{path}/a/IM1")
    assert before == file_identity(film) == file_identity(path)
    path.write_bytes(path.read_bytes() + b"changed")
    assert file_identity(f"{path}/a/IM1") != before
    (gone,) = FilmSearch([f"{path}/a/IM2"])
    with pytest.raises(FilmError, match="FILE_UNREADABLE"):
        read_film(gone)


def test_a_zip_may_come_on_stdin(packed):
    path, films = packed
    found = list(FilmSearch(["-"], stdin=io.BytesIO(path.read_bytes())))
    assert found == [f"-/{name}" for name in sorted(films)]
    assert [read_film(film).film_id for film in found] == [films[name] for name in sorted(films)]


def test_of_many_zips_few_are_open_and_each_is_still_read(packed, tmp_path):
    path, films = packed
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02}.zip").write_bytes(path.read_bytes())
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = list(FilmSearch([str(folder)]))
    assert len(found) == 90
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 10
    assert {read_film(film).film_id for film in found} == set(films.values())


def only(path: Path) -> FilmError:
    (error,) = FilmSearch([str(path)])
    assert isinstance(error, FilmError)
    assert error.path == str(path)
    return error


@pytest.mark.parametrize(
    "name", ["../x.dcm", "/etc/x.dcm", "a/../../x.dcm", "a\\..\\x.dcm", "C:x.dcm"]
)
def test_a_name_that_leads_out_of_the_zip_is_refused(tmp_path, name):
    path = tmp_path / "out.zip"
    with zipfile.ZipFile(path, "w") as pile:
        pile.writestr(name, b"no film")
    error = only(path)
    assert (error.code, "leads out" in error.message) == ("NOT_READABLE", True)


def test_what_would_unpack_to_more_than_a_film_is_not_read(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pile:
        pile.writestr("zeros.dcm", bytes(32 << 20))
    assert only(path).code == "TOO_LARGE"
    # One that claims less than it holds gives what it claims, and is damaged.
    data = bytearray(path.read_bytes())
    where = data.rindex(b"PK\1\2")
    struct.pack_into("<I", data, where + 24, 1000)
    path.write_bytes(data)
    (film,) = FilmSearch([str(path)])
    with pytest.raises(FilmError, match="damaged in the zip"):
        read_film(film)


def test_files_that_share_their_bytes_are_a_bomb(tmp_path):
    path = tmp_path / "overlap.zip"
    with zipfile.ZipFile(path, "w") as pile:
        pile.writestr("a.dcm", bytes(4000))
        pile.filelist *= 50
    assert "share their bytes" in only(path).message


def test_a_list_of_members_without_end_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("cxrclient.films.search.zips._DIRECTORY_MOST_BYTES", 10_000)
    path = tmp_path / "long.zip"
    with zipfile.ZipFile(path, "w") as pile:
        for number in range(300):
            pile.writestr(f"{number}.dcm", b"")
    assert only(path).code == "TOO_LARGE"


def test_a_damaged_zip_and_one_with_a_password_are_errors_in_their_place(packed, tmp_path):
    path, films = packed
    data = bytearray(path.read_bytes())
    broken = tmp_path / "broken.zip"
    broken.write_bytes(data[: len(data) // 2])
    assert only(broken).code == "NOT_READABLE"
    where = data.index(b"PK\1\2")  # of the first, b/2.dcm
    data[where + 8] |= 1
    path.write_bytes(data)
    error, *found = FilmSearch([str(path)])
    assert "password" in error.message
    assert found == [f"{path}/{name}" for name in sorted(films) if name != "b/2.dcm"]
    spoilt = Path(str(path))
    data[where + 8] &= ~1
    start = data.index(b"b/2.dcm") + 7
    data[start + 50 : start + 60] = bytes(10)
    spoilt.write_bytes(data)
    film = next(film for film in FilmSearch([str(spoilt)]) if str(film).endswith("b/2.dcm"))
    with pytest.raises(FilmError, match="damaged in the zip"):
        read_film(film)
