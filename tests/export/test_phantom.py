"""Phantoms: what is drawn is known, what is written is varied, and all of it follows the seed."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.manifest import read_manifest
from cxrexport.phantom import draw_phantom, write_phantoms
from cxrexport.preprocessing import PreprocessingSpec, decode_film, preprocess


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(30, tmp_path_factory.mktemp("drawn"), 11, size_px=256)


@pytest.fixture(scope="module")
def headers(written: Path) -> list:
    return [dcmread(row.image) for row in read_manifest(written)]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_phantoms(5, tmp_path / name, 3, size_px=256)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert len(one) == 11
    assert one == two


def test_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    """No hash of a string, no clock and no dictionary order is in them."""
    write_phantoms(2, tmp_path / "here", 3, size_px=128)
    code = (
        "import sys; from cxrexport.phantom import write_phantoms\n"
        "write_phantoms(2, sys.argv[1], 3, size_px=128)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_without_letters_the_film_is_the_same_but_for_them_and_says_so(tmp_path: Path) -> None:
    written, plain = (draw_phantom(5, True, 512, letters=letters) for letters in (True, False))
    differs = written.image != plain.image
    assert 0 < differs.mean() < 0.01
    assert (written.image[differs] == 1).all()
    np.testing.assert_array_equal(written.lungs, plain.lungs)
    (row,) = read_manifest(write_phantoms(1, tmp_path, 3, size_px=128, letters=False))
    assert dcmread(row.image).BurnedInAnnotation == "NO"


def test_another_seed_gives_other_films() -> None:
    assert not np.array_equal(draw_phantom(1, False, 256).lungs, draw_phantom(2, False, 256).lungs)


@pytest.mark.parametrize("seed", range(8))
def test_opacities_lie_in_the_outer_lung_and_brighten_it(seed: int) -> None:
    plain, ill = draw_phantom(seed, False, 512), draw_phantom(seed, True, 512)
    assert plain.opacities == ()
    assert len(ill.opacities) >= 3
    np.testing.assert_array_equal(plain.lungs, ill.lungs)
    # Depth within the lung, as a share of the deepest place.
    depth = cv2.distanceTransform(ill.lungs.astype(np.uint8), cv2.DIST_L2, 5)
    for opacity in ill.opacities:
        row, column = round(opacity.y), round(opacity.x)
        assert ill.lungs[row, column]
        assert depth[row, column] < 0.75 * depth.max()
        reach = round(opacity.radius_px / 2)
        near = np.s_[row - reach : row + reach, column - reach : column + reach]
        assert ill.image[near].mean() > plain.image[near].mean() + 0.05


@pytest.mark.parametrize("seed", range(4))
def test_the_classes_differ_in_their_lungs_only(seed: int) -> None:
    plain, ill = draw_phantom(seed, False, 512), draw_phantom(seed, True, 512)
    around = cv2.dilate(plain.lungs.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert np.abs(plain.image - ill.image)[~around].max() < 0.02


@pytest.mark.parametrize("seed", range(8))
def test_lungs_are_two_dark_fields_within_the_exposed_film(seed: int) -> None:
    phantom = draw_phantom(seed, False, 512)
    parts, _ = cv2.connectedComponents(phantom.lungs.astype(np.uint8))
    assert parts - 1 == 2
    assert 0.12 < phantom.lungs.mean() < 0.45
    assert (phantom.image[phantom.lungs] > 0).all()
    ring = cv2.dilate(phantom.lungs.astype(np.uint8), np.ones((31, 31), np.uint8)) > 0
    ring &= ~phantom.lungs & (phantom.image > 0)
    assert np.median(phantom.image[phantom.lungs]) < np.median(phantom.image[ring]) - 0.15


@pytest.mark.parametrize("size_px", [128, 1024])
def test_the_longer_side_has_the_size_asked_for(size_px: int) -> None:
    phantom = draw_phantom(5, True, size_px)
    assert max(phantom.image.shape) == size_px
    assert phantom.image.shape == phantom.lungs.shape
    assert phantom.image.min() >= 0
    assert phantom.image.max() <= 1


def test_a_size_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="size_px"):
        draw_phantom(0, False, 64)


def test_films_of_a_patient_share_their_anatomy() -> None:
    """Ribs and vessels of one patient agree better than those of two, once posture is undone."""

    def chest(seed: int, patient: int) -> np.ndarray:
        phantom = draw_phantom(seed, False, 512, patient=patient)
        rows, columns = np.nonzero(phantom.lungs)
        box = phantom.image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        small = cv2.resize(box, (128, 128), interpolation=cv2.INTER_AREA)
        return (small - cv2.GaussianBlur(small, (0, 0), 6)).ravel()

    same, other = [], []
    for k in range(6):
        first = chest(100 + k, 1000 + k)
        same.append(np.corrcoef(first, chest(200 + k, 1000 + k))[0, 1])
        other.append(np.corrcoef(first, chest(200 + k, 2000 + k))[0, 1])
    assert np.mean(same) > np.mean(other) + 0.1


def test_half_of_the_films_are_positive(written: Path) -> None:
    labels = [row.label for row in read_manifest(written)]
    assert (labels.count("covid"), labels.count("non-covid")) == (15, 15)


def test_some_patients_have_several_films_in_one_split(written: Path) -> None:
    films = defaultdict(list)
    for row in read_manifest(written):
        films[row.patient_id].append(row)
    assert max(len(rows) for rows in films.values()) >= 2
    for rows in films.values():
        assert len({row.split for row in rows}) == 1
        assert len({row.label for row in rows}) == 1
        days = [row.offset_days for row in rows]
        assert days[0] == 0
        assert days == sorted(set(days))


def test_every_split_has_both_classes(written: Path) -> None:
    found = {(row.split, row.label) for row in read_manifest(written)}
    assert len(found) == 6


def test_the_manifest_says_what_the_headers_say(written: Path, headers: list) -> None:
    for row, header in zip(read_manifest(written), headers, strict=True):
        assert row.patient_id == header.PatientID
        assert row.view == header.ViewPosition
        assert row.sex == header.PatientSex
        assert f"{row.age:03.0f}Y" == header.PatientAge


def test_nobody_can_take_a_phantom_for_a_patient(headers: list) -> None:
    for header in headers:
        assert str(header.PatientName).startswith("PHANTOM")
        assert header.PatientID.startswith("PHANTOM")


def test_uids_are_unique_and_valid(headers: list) -> None:
    uids = [header.SOPInstanceUID for header in headers]
    assert len(set(uids)) == len(uids)
    assert all(uid.is_valid for uid in uids)


def test_the_ways_of_storing_a_film_are_all_there(headers: list) -> None:
    assert {header.BitsStored for header in headers} >= {8, 10, 12, 14}
    assert {header.PhotometricInterpretation for header in headers} == {
        "MONOCHROME1", "MONOCHROME2",
    }  # fmt: skip
    assert {"WindowCenter" in header for header in headers} == {True, False}
    assert {header.get("RescaleSlope", 1) != 1 for header in headers} == {True, False}
    assert {header.file_meta.TransferSyntaxUID.is_compressed for header in headers} == {True, False}
    assert {header.Modality for header in headers} == {"CR", "DX"}


def test_what_was_drawn_is_what_is_decoded(written: Path) -> None:
    """Through bits, polarity, rescale, window and compression, the lungs come back dark."""
    for row in read_manifest(written):
        film = decode_film(row.image.read_bytes()).pixels.astype(float)
        lungs = cv2.imread(str(row.mask), cv2.IMREAD_GRAYSCALE) > 0
        assert lungs.shape == film.shape
        beside = cv2.dilate(lungs.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
        beside &= ~lungs & (film > 0)
        assert np.median(film[lungs]) < np.median(film[beside])


def test_storage_hardly_changes_what_the_network_sees(tmp_path: Path) -> None:
    from cxrexport.phantom.dicom import PhantomHeader, write_dicom

    image = draw_phantom(4, True, 512).image
    header = PhantomHeader(0, 1, 0, 0, "AP", True, "F", 60, 0)
    seen = []
    for way in range(8):
        buffer = io.BytesIO()
        write_dicom(image, header, np.random.default_rng(way), buffer)
        spec = PreprocessingSpec(size_px=256, clahe_clip_limit=0)
        seen.append(preprocess(buffer.getvalue(), spec).image)
    for other in seen[1:]:
        assert np.abs(other - seen[0]).mean() < 0.02


def test_the_command_writes_a_manifest_and_says_where(tmp_path: Path) -> None:
    arguments = ["phantom", "--count", "2", "--output", str(tmp_path), "--seed", "9"]
    result = CliRunner().invoke(app, [*arguments, "--size-px", "128"])
    assert result.exit_code == 0
    assert len(read_manifest(result.stdout.strip())) == 2


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--size-px", "9"], ["--seed", "-1"]])
def test_the_command_refuses_wrong_numbers_as_wrong_usage(wrong: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["phantom", "--output", str(tmp_path), *wrong])
    assert result.exit_code == 2


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(
        app, ["phantom", "--output", str(tmp_path / "file"), "--count", "1"]
    )
    assert result.exit_code == 1
    assert "choose another --output" in result.stderr


def test_drawing_needs_no_torch() -> None:
    code = (
        "import sys; from cxrexport.phantom import draw_phantom\n"
        "draw_phantom(0, True, 128); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
