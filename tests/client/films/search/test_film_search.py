"""What counts as a film among files, folders and globs."""

from __future__ import annotations

import io
import os
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from cxrclient.errors import FilmError
from cxrclient.films.film import read_film
from cxrclient.films.search.file_list import read_paths
from cxrclient.films.search.film_search import FilmSearch
from cxrclient.pages.render import png_bytes


@pytest.fixture
def folder(tmp_path, write_dicom):
    """Films on two levels, among files that are none."""
    top = tmp_path / "films"
    (top / "b" / "c").mkdir(parents=True)
    (top / ".hidden").mkdir()
    write_dicom(top / "2.dcm")
    write_dicom(top / "IM0001")  # no extension: known by its bytes
    write_dicom(top / "b" / "c" / "1.dcm")
    write_dicom(top / ".hidden" / "x.dcm")
    write_dicom(top / "DICOMDIR")
    (top / "empty.png").touch()  # its name promises a film: it gets its line
    (top / "notes.txt").write_text("hello")
    (top / "list.csv").write_text("a,b")
    (top / "._2.dcm").write_bytes(b"\0\5\x16\7")
    (top / "up").symlink_to(top)
    return top


def names(search, folder):
    return [os.path.relpath(str(found), folder) for found in search]


def test_a_folder_gives_its_films_sorted_with_all_below_and_counts_the_rest(folder):
    search = FilmSearch([str(folder)])
    assert names(search, folder) == ["2.dcm", "IM0001", "empty.png", "b/c/1.dcm"]
    assert search.skipped.kinds == {
        ".txt": 1,
        ".csv": 1,
        "DICOMDIR": 1,
        "hidden": 2,  # the file and the folder
        "link to a folder": 1,
    }
    assert search.passed_over == 6
    assert search.skipped.paths == []  # nobody asked for them


def test_what_is_passed_over_is_named_where_that_is_asked(folder):
    search = FilmSearch([str(folder)], keep_passed_over=True)
    list(search)
    named = {(os.path.relpath(path, folder), kind) for path, kind in search.skipped.paths}
    assert named == {
        ("notes.txt", ".txt"),
        ("list.csv", ".csv"),
        ("DICOMDIR", "DICOMDIR"),
        ("._2.dcm", "hidden"),
        (".hidden", "hidden"),
        ("up", "link to a folder"),
    }
    assert str(search.skipped) == "2 hidden, 1 .csv, 1 .txt, 1 DICOMDIR, 1 link to a folder"


def test_links_to_folders_are_followed_once_each_and_never_in_a_circle(tmp_path, write_dicom):
    top, aside = tmp_path / "top", tmp_path / "aside"
    (top / "a").mkdir(parents=True)
    aside.mkdir()
    write_dicom(top / "a" / "1.dcm")
    write_dicom(aside / "2.dcm")
    (aside / "back").symlink_to(top)
    for name in ("0", "z"):
        (top / name).symlink_to(aside)
    (top / "again").symlink_to(top / "a")
    (top / "a" / "self").symlink_to(top / "a")
    assert names(FilmSearch([str(top)]), top) == ["a/1.dcm"]
    search = FilmSearch([str(top)], follow=True)
    assert names(search, top) == ["a/1.dcm", "0/2.dcm"]
    assert search.skipped.kinds == {"folder that was searched already": 4}
    assert len(list(search.names_alone())) == 2


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_a_list_of_paths_is_taken_by_the_letter(tmp_path, write_dicom, end):
    odd = write_dicom(tmp_path / "[a]*.dcm")
    below = tmp_path / "below"
    below.mkdir()
    inside = write_dicom(below / "2.dcm")
    listed = read_paths(io.BytesIO(end.join(map(os.fsencode, (odd, "", "*.no", below)))), "-")
    found = [str(film) for film in FilmSearch([], listed=listed)]
    assert found == [str(odd), "*.no", str(inside)]


def test_a_film_on_stdin_is_read_once_and_what_is_none_is_an_error(write_dicom, tmp_path):
    content = write_dicom(tmp_path / "1.dcm").read_bytes()
    (film,) = FilmSearch(["-"], stdin=io.BytesIO(content))
    assert (read_film(film).film_id, film) == (read_film(content).film_id, "-")
    (nothing,) = FilmSearch(["-"], stdin=io.BytesIO())
    assert (nothing.code, nothing.path) == ("NOT_READABLE", "-")


def test_a_file_named_outright_is_taken_whatever_it_is(folder):
    assert names(FilmSearch([str(folder / "notes.txt"), "nowhere.dcm"]), folder)[0] == "notes.txt"


def test_a_glob_is_expanded_sorted_and_may_go_deep(folder):
    assert names(FilmSearch([f"{folder}/*.dcm"]), folder) == ["2.dcm"]
    assert names(FilmSearch([f"{folder}/**/*.dcm"]), folder) == ["2.dcm", "b/c/1.dcm"]


def test_a_glob_that_matches_nothing_is_remembered(folder):
    search = FilmSearch([f"{folder}/*.nii"])
    assert list(search) == []
    assert search.unmatched == [f"{folder}/*.nii"]


def test_an_existing_name_with_brackets_is_no_glob(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "a[1].dcm")
    assert list(FilmSearch([str(path)])) == [str(path)]


def test_pictures_of_an_earlier_run_are_passed_over_in_folders_and_taken_when_named(tmp_path):
    (tmp_path / "mask.png").write_bytes(png_bytes(Image.new("L", (4, 4))))
    Image.new("L", (4, 4)).save(tmp_path / "film.png")
    search = FilmSearch([str(tmp_path)])
    assert names(search, tmp_path) == ["film.png"]
    assert search.passed_over == 1
    assert names(FilmSearch([str(tmp_path / "mask.png")]), tmp_path) == ["mask.png"]


def test_films_are_found_as_they_are_asked_for(tmp_path, write_dicom):
    for name in "ab":
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name / "1.dcm")
    search = iter(FilmSearch([str(tmp_path)]))
    first = next(search)
    (tmp_path / "b" / "1.dcm").unlink()
    assert [first, *search] == [str(tmp_path / "a" / "1.dcm")]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root to meet a locked folder")
def test_a_folder_that_cannot_be_read_is_an_error_in_its_place(tmp_path, write_dicom):
    for name in "abc":
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name / "1.dcm")
    for parent in [tmp_path, *tmp_path.parents][:4]:
        if parent != Path("/tmp"):
            parent.chmod(0o755)
    (tmp_path / "b").chmod(0)
    os.seteuid(65534)
    try:
        found = list(FilmSearch([str(tmp_path)]))
    finally:
        os.seteuid(0)
    assert isinstance(found[1], FilmError)
    assert (found[1].code, found[1].status) == ("FOLDER_UNREADABLE", "failed")
    assert found[1].path == str(tmp_path / "b")
    assert len(found) == 3


def test_a_fifo_is_passed_over_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    assert list(islice(FilmSearch([str(tmp_path)]), 1)) in ([], [str(tmp_path / "pipe.dcm")])
