"""What counts as a film among files, folders and globs."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from cxrclient.errors import FilmError
from cxrclient.films.sources import FilmSearch
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
    assert search.passed_over == 5  # text, CSV, DICOMDIR, the hidden file, the link


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
