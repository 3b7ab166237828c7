"""Masks and overlays that `cxrclient predict` writes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from predict_command import lines


def test_pictures_have_the_films_name_folders_and_size(predict, films, tmp_path):
    masks, overlays = tmp_path / "masks", tmp_path / "overlays"
    done = predict(films, "--masks", masks, "--overlays", overlays, "--format", "jsonl")
    assert done.returncode == 0
    for folder in (masks, overlays):
        written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
        assert written == ["a.png", "b.png", "below/a.png"]
    mask = np.asarray(Image.open(masks / "a.png"))
    assert mask.shape == (240, 200)
    assert set(np.unique(mask)) <= {0, 255}
    assert np.asarray(Image.open(masks / "below" / "a.png")).shape == (260, 200)
    assert (masks / "below").stat().st_mode & 0o077 == 0
    fraction = lines(done)[0]["lung_fraction"]
    assert (mask == 255).mean() == pytest.approx(fraction, abs=1e-4)
    overlay = Image.open(overlays / "a.png")
    assert overlay.mode == "RGB"
    assert overlay.width == 200, "as wide as the film"
    assert overlay.height > 240, "the film, its colour bar and the caption"
    assert "a number" not in done.stderr


def test_a_name_that_is_a_uid_is_kept_whole_and_named_films_lie_in_no_folder(tmp_path):
    from cxrclient.cli.output.pictures import PictureFolder

    given = [str(tmp_path / "study"), str(tmp_path / "more" / "*" / "x.dcm"), "one.dcm"]
    (tmp_path / "study").mkdir()
    folder = PictureFolder(tmp_path / "masks", given)
    expected = {
        tmp_path / "study" / "1.2.840.113619.2.5": "1.2.840.113619.2.5.png",
        tmp_path / "study" / "1.2.840.113619.2.7": "1.2.840.113619.2.7.png",
        tmp_path / "study" / "s1" / "1.2.3.dcm": "s1/1.2.3.png",
        tmp_path / "study" / "s2" / "1.2.3.dcm": "s2/1.2.3.png",
        tmp_path / "study" / "s2" / "1.2.3.png": "s2/1.2.3-2.png",
        tmp_path / "study" / ".." / "elsewhere" / "a.dcm": "a.png",
        tmp_path / "more" / "p1" / "x.dcm": "p1/x.png",
        "one.dcm": "one.png",
    }
    for film, name in expected.items():
        assert folder.reserve(str(film)) == tmp_path / "masks" / name
    folder.close()


def test_a_picture_of_an_earlier_run_is_found_in_its_folder(tmp_path):
    from cxrclient.cli.output.pictures import PictureFolder
    from cxrclient.pages import png_bytes

    (tmp_path / "study").mkdir()
    folder = PictureFolder(tmp_path / "masks", [str(tmp_path / "study")])
    target = folder.reserve(str(tmp_path / "study" / "s1" / "a.dcm"))
    folder.write(target, png_bytes(Image.new("L", (4, 4))))
    assert folder.holds(str(target))
    assert not folder.holds(str(tmp_path / "masks" / "s2" / "a.png"))
    assert not folder.holds(str(tmp_path / "masks" / ".." / "a.png"))
    folder.close()


def test_films_of_one_name_outside_any_given_folder_get_numbers(predict, tmp_path, write_dicom):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name / "a.dcm")
    films = [tmp_path / name / "a.dcm" for name in ("one", "two")]
    done = predict(*films, "--masks", tmp_path / "masks")
    assert "1 picture has a number added" in done.stderr


def test_only_pictures_that_were_written_are_said_to_have_a_number(predict, tmp_path, write_dicom):
    for name in ("film", "good", "bad"):
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name / "a.dcm")
    (tmp_path / "bad" / "a.dcm").write_bytes(b"")
    films = [tmp_path / name / "a.dcm" for name in ("film", "bad", "good")]
    done = predict(*films, "--masks", tmp_path / "masks")
    assert "1 picture has a number added" in done.stderr
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["a-3.png", "a.png"]


def test_pictures_of_a_run_replace_those_of_the_last_but_never_a_film(
    predict, tmp_path, drawn_film
):
    film = tmp_path / "film.png"
    Image.fromarray(drawn_film()).save(film)
    before = film.read_bytes()
    for _ in range(2):
        assert predict(film, "--masks", tmp_path).returncode == 0
    assert film.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film-2.png", "film.png"]


def test_masks_inside_a_folder_of_films_are_not_predicted(predict, tmp_path, write_dicom):
    write_dicom(tmp_path / "a.dcm")
    for _ in range(2):
        done = predict(tmp_path, "--masks", tmp_path / "masks", "--format", "jsonl")
        assert len(lines(done)) == 1


def test_masks_may_go_into_the_very_folder_that_is_predicted(predict, tmp_path, write_dicom):
    write_dicom(tmp_path / "a.dcm")
    for _ in range(2):
        done = predict(tmp_path, "--masks", tmp_path, "--format", "jsonl")
        assert done.returncode == 0, done.stderr
        assert [line["path"] for line in lines(done)] == [str(tmp_path / "a.dcm")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dcm", "a.png"]


def test_a_picture_folder_that_cannot_be_written_is_said_before_a_film_is_sent(predict, films):
    done = predict(films, "--masks", films / "a.dcm" / "masks")
    assert done.returncode == 2
    assert "Cannot write pictures" in done.stderr
    assert done.stdout == ""


def test_masks_and_overlays_need_two_folders(predict, films, tmp_path):
    done = predict(films, "--masks", tmp_path, "--overlays", tmp_path)
    assert done.returncode == 2
    assert "two folders" in done.stderr
