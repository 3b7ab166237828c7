"""What only a film's pixels tell of a manifest: damage, doubles, leaks, masks that do not fit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, raise_problems, scan_manifest
from cxrexport.manifest.films import check_films, pixels_digest
from cxrexport.preprocessing import decode_film


@pytest.fixture
def film(drawn_film):
    """Draws 12-bit films, uint16 [120, 100]."""
    return lambda seed=0: drawn_film(seed, 120, 100)


def saved(path: Path, pixels: np.ndarray, *flags: int) -> Path:
    assert cv2.imwrite(str(path), pixels, list(flags))
    return path


def row(image: Path, line: int, **fields) -> FilmRow:
    facts = {"patient_id": "p1", "label": "tb", "split": "train", **fields}
    return FilmRow(image=image, row=line, **facts)


def found(*rows: FilmRow) -> list[str]:
    """Problems of the films themselves: line, column, what."""
    problems = check_films(rows, Path("m.csv"), labels=["tb"])
    return [str(problem).removeprefix("m.csv:") for problem in problems]


# --- damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "NOT_READABLE"),
        (b"no film at all", "NOT_READABLE"),
        (cv2.imencode(".png", np.full((50, 50), 7, np.uint8))[1].tobytes(), "CONSTANT"),
        (cv2.imencode(".png", np.arange(7500).reshape(50, 50, 3) % 251)[1].tobytes(), "COLOUR"),
    ],
)
def test_a_film_that_cannot_be_decoded_is_named_with_its_code(tmp_path, film, content, code):
    good, bad = saved(tmp_path / "good.png", film()), tmp_path / "bad.png"
    bad.write_bytes(content)
    (problem,) = check_films([row(good, 2), row(bad, 3)], Path("m.csv"), ["tb"])
    assert (problem.line, problem.column, problem.code) == (3, "image", code)
    assert "bad.png" in problem.what


def test_a_truncated_film_is_named(tmp_path, film):
    path = saved(tmp_path / "a.png", film())
    path.write_bytes(path.read_bytes()[:-400])
    assert found(row(path, 2))[0].startswith("2: image: NOT_READABLE: ")


def test_a_film_that_is_not_there_is_left_to_its_cell(tmp_path):
    assert found(row(tmp_path / "gone.png", 2)) == []


# --- doubles ---------------------------------------------------------------------------------


def test_different_films_are_no_doubles(tmp_path, film):
    rows = [row(saved(tmp_path / f"{n}.png", film(n)), n) for n in range(4)]
    assert found(*rows) == []


def test_a_copied_file_is_the_same_film(tmp_path, film):
    one = saved(tmp_path / "one.png", film())
    other = tmp_path / "other.png"
    other.write_bytes(one.read_bytes())
    assert found(row(one, 2), row(other, 3)) == [
        "3: image: the same film as in line 2 (a copy of the same file)"
    ]


def test_a_png_saved_again_is_the_same_film(tmp_path, film):
    one = saved(tmp_path / "one.png", film(), cv2.IMWRITE_PNG_COMPRESSION, 9)
    other = saved(tmp_path / "other.png", film(), cv2.IMWRITE_PNG_COMPRESSION, 0)
    assert found(row(one, 2), row(other, 3)) == [
        "3: image: the same film as in line 2 (the same pixels, stored in another way)"
    ]


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"RescaleSlope": "2", "RescaleIntercept": "-1000"},
        {"WindowCenter": "2048", "WindowWidth": "4096"},
    ],
    ids=["plain", "rescaled", "windowed"],
)
def test_a_film_as_dicom_and_as_png_is_the_same_film(tmp_path, film, write_dicom, header):
    png = saved(tmp_path / "film.png", film())
    dicom = write_dicom(tmp_path / "film.dcm", film(), **header)
    assert len(found(row(dicom, 2), row(png, 3))) == 1


def test_a_negative_in_dicom_is_the_same_film_as_its_png(tmp_path, film, write_dicom):
    png = saved(tmp_path / "film.png", film())
    negative = write_dicom(
        tmp_path / "film.dcm", 4095 - film(), PhotometricInterpretation="MONOCHROME1"
    )
    assert len(found(row(negative, 2), row(png, 3))) == 1


def test_a_png_with_its_values_spread_over_16_bits_is_the_same_film(tmp_path, film):
    one = saved(tmp_path / "one.png", film())
    other = saved(tmp_path / "other.png", film() * 16)
    assert len(found(row(one, 2), row(other, 3))) == 1


@pytest.mark.parametrize(
    "export",
    [
        lambda eight: (".png", eight, []),
        lambda eight: (".jpg", eight, [cv2.IMWRITE_JPEG_QUALITY, 75]),
        lambda eight: (".png", cv2.resize(eight, None, fx=0.5, fy=0.5), []),
        lambda eight: (".png", (255 * (eight / 255) ** 0.8).astype(np.uint8), []),
    ],
    ids=["8 bits", "JPEG", "half the size", "gamma"],
)
def test_a_real_film_exported_again_is_the_same_film(tmp_path, real_film, export):
    dicom = real_film("RG1_UNCR.dcm")
    eight = (decode_film(dicom.read_bytes()).pixels >> 8).astype(np.uint8)
    suffix, pixels, flags = export(eight)
    copy = saved(tmp_path / f"export{suffix}", pixels, *flags)
    (problem,) = found(row(dicom, 2), row(copy, 3, split="test"))
    assert problem.startswith("3: image: the same film as in line 2 (")
    assert " alike: exported again" in problem
    assert problem.endswith("test here, train in line 2: it leaks from one into the other")


def test_films_of_one_phantom_patient_on_two_days_are_two_films(phantom_rows):
    visits = Counter(row.patient_id for row in phantom_rows)
    assert max(visits.values()) > 1
    assert check_films(phantom_rows, Path("m.csv")) == []


def test_a_film_that_differs_in_one_pixel_is_another_film(film):
    pixels = film()
    changed = pixels.copy()
    changed[60, 50] += 1
    assert pixels_digest(pixels) != pixels_digest(changed)


def test_the_same_values_in_another_shape_are_another_film(film):
    assert pixels_digest(film()) != pixels_digest(film().reshape(100, 120))


def test_the_same_film_under_two_patients_or_in_two_splits_is_called_a_leak(tmp_path, film):
    one = saved(tmp_path / "one.png", film())
    other = saved(tmp_path / "other.png", film(), cv2.IMWRITE_PNG_COMPRESSION, 0)
    (problem,) = found(row(one, 2), row(other, 3, patient_id="p2", split="test"))
    assert problem.endswith(
        "; patient p2 here, p1 in line 2: no split by patient keeps them on one side"
        "; test here, train in line 2: it leaks from one into the other"
    )


def test_a_third_copy_is_reported_too(tmp_path, film):
    rows = [row(saved(tmp_path / f"{n}.png", film()), n) for n in (2, 3, 4)]
    assert [problem.split(" (")[0] for problem in found(*rows)] == [
        "3: image: the same film as in line 2",
        "4: image: the same film as in line 2",
    ]


# --- masks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "what"),
    [
        (np.full((60, 50), 255), "has 50x60 pixels, its film 100x120"),
        (np.zeros((120, 100)), "is empty"),
        (np.full((120, 100), 255), "covers 100% of the film"),
        (None, "is not an image"),
    ],
)
def test_a_mask_that_does_not_fit_its_film_is_named(tmp_path, film, mask, what):
    path = tmp_path / "mask.png"
    path.write_bytes(b"no image") if mask is None else saved(path, mask.astype(np.uint8))
    (problem,) = found(row(saved(tmp_path / "film.png", film()), 2, mask=path))
    assert problem.startswith(f"2: mask: mask.png {what}")


def test_a_mask_of_lungs_is_fine(tmp_path, film):
    lungs = np.zeros((120, 100), np.uint8)
    lungs[30:90, 20:80] = 255
    path = saved(tmp_path / "mask.png", lungs)
    assert found(row(saved(tmp_path / "film.png", film()), 2, mask=path)) == []


# --- all at once -----------------------------------------------------------------------------


def test_cells_films_masks_and_splits_are_reported_in_one_go_by_line(tmp_path, film):
    saved(tmp_path / "a.png", film())
    saved(tmp_path / "b.png", film(), cv2.IMWRITE_PNG_COMPRESSION, 0)
    (tmp_path / "c.png").write_bytes(b"")
    path = tmp_path / "m.csv"
    path.write_text(
        "image,patient_id,label,age,split\n"
        "gone.png,p1,tb,077Y,train\n"
        "a.png,p2,flu,-1,train\n"
        "b.png,p3,tb,,train\n"
        "c.png,p3,tb,,test\n"
    )
    labels = ["normal", "tb"]
    rows, problems = scan_manifest(path, labels=labels)
    problems += check_films(rows, path, labels)  # as `cxrexport train` does
    with pytest.raises(ManifestError) as caught:
        raise_problems(problems)
    lines = [line.removeprefix(str(path)) for line in caught.value.message.splitlines()]
    assert lines[0] == "9 problems:"
    assert [line.split(": ")[:2] for line in lines[1:]] == [
        ["", "label"],
        ["", "label"],
        [":2", "image"],
        [":2", "age"],
        [":3", "label"],
        [":3", "age"],
        [":4", "image"],
        [":5", "split"],
        [":5", "image"],
    ]


def test_what_is_found_does_not_depend_on_threads(tmp_path, film):
    rows = [
        row(saved(tmp_path / f"{n}.png", film(n % 7), cv2.IMWRITE_PNG_COMPRESSION, n % 3), n)
        for n in range(40)
    ]
    assert [found(*rows) for _ in range(3)] == [found(*rows)] * 3
