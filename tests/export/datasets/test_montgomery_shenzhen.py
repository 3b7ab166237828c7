"""The tuberculosis sets of the U.S. National Library of Medicine, on made-up trees."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.datasets import read_montgomery_shenzhen
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, read_manifest


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")


def by_name(rows: Iterable[FilmRow]) -> dict[str, FilmRow]:
    return {row.image.name: row for row in rows}


def mask(path: Path, columns: slice, shape: tuple[int, int] = (60, 50)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lung = np.zeros(shape, np.uint8)
    lung[20:40, columns] = 255
    assert cv2.imwrite(str(path), lung)


@pytest.fixture
def nlm(tmp_path: Path) -> Path:
    """Both sets: two Montgomery films with left and right masks, three Shenzhen films, one mask."""
    root = tmp_path / "nlm"
    for stem, reading in {
        "MCUCXR_0001_0": "Patient's Sex: F \nPatient's Age: 027Y\nnormal\n",
        "MCUCXR_0104_1": "Patient's Sex: M\nPatient's Age: 061Y\nscar in the left apex\n",
    }.items():
        touch(root / "MontgomerySet" / "CXR_png" / f"{stem}.png")
        touch(root / "MontgomerySet" / "ClinicalReadings" / f"{stem}.txt")
        (root / "MontgomerySet" / "ClinicalReadings" / f"{stem}.txt").write_text(reading)
        mask(root / "MontgomerySet" / "ManualMask" / "leftMask" / f"{stem}.png", np.s_[30:40])
        mask(root / "MontgomerySet" / "ManualMask" / "rightMask" / f"{stem}.png", np.s_[10:20])
    for stem, reading in {
        "CHNCXR_0001_0": "male 45yrs\nnormal\n",
        "CHNCXR_0327_1": "Female, 28yrs\nPTB in the right upper field\n",
        "CHNCXR_0340_1": "femal 16month\nsecondary PTB\n",
    }.items():
        touch(root / "ChinaSet_AllFiles" / "CXR_png" / f"{stem}.png")
        touch(root / "ChinaSet_AllFiles" / "ClinicalReadings" / f"{stem}.txt")
        (root / "ChinaSet_AllFiles" / "ClinicalReadings" / f"{stem}.txt").write_text(reading)
    mask(root / "mask" / "CHNCXR_0001_0_mask.png", np.s_[10:40])
    return root


def tb(root: Path) -> dict[str, FilmRow]:
    return by_name(read_montgomery_shenzhen(root, masks_to=root.parent / "joined").rows)


def test_labels_patients_and_sources_come_from_the_file_names(nlm):
    facts = {name: (r.label, r.patient_id, r.source) for name, r in tb(nlm).items()}
    assert facts == {
        "MCUCXR_0001_0.png": ("normal", "MCUCXR_0001", "nlm-montgomery"),
        "MCUCXR_0104_1.png": ("tb", "MCUCXR_0104", "nlm-montgomery"),
        "CHNCXR_0001_0.png": ("normal", "CHNCXR_0001", "nlm-shenzhen"),
        "CHNCXR_0327_1.png": ("tb", "CHNCXR_0327", "nlm-shenzhen"),
        "CHNCXR_0340_1.png": ("tb", "CHNCXR_0340", "nlm-shenzhen"),
    }


def test_sex_age_and_text_come_from_the_clinical_readings(nlm):
    facts = {name: (r.sex, r.age, r.extra["reading"]) for name, r in tb(nlm).items()}
    assert facts == {
        "MCUCXR_0001_0.png": ("F", 27.0, "normal"),
        "MCUCXR_0104_1.png": ("M", 61.0, "scar in the left apex"),
        "CHNCXR_0001_0.png": ("M", 45.0, "normal"),
        "CHNCXR_0327_1.png": ("F", 28.0, "PTB in the right upper field"),
        "CHNCXR_0340_1.png": ("F", 1.33, "secondary PTB"),
    }


def test_a_film_without_a_reading_has_neither_sex_nor_age_and_says_so(nlm):
    (nlm / "ChinaSet_AllFiles" / "ClinicalReadings" / "CHNCXR_0001_0.txt").unlink()
    row = tb(nlm)["CHNCXR_0001_0.png"]
    assert (row.sex, row.age, row.extra["note"]) == (None, None, "no clinical reading")


def test_left_and_right_lung_are_joined_in_one_mask(nlm):
    joined = cv2.imread(str(tb(nlm)["MCUCXR_0001_0.png"].mask), cv2.IMREAD_GRAYSCALE)
    expected = np.zeros((60, 50), bool)
    expected[20:40, 10:20] = expected[20:40, 30:40] = True
    np.testing.assert_array_equal(joined > 0, expected)


def test_shenzhen_masks_are_taken_where_they_are_and_bring_their_licence(nlm):
    rows = tb(nlm)
    assert rows["CHNCXR_0001_0.png"].mask == nlm / "mask" / "CHNCXR_0001_0_mask.png"
    assert rows["CHNCXR_0327_1.png"].mask is None
    tiers = {name: rows[name].licence_tier for name in ("CHNCXR_0001_0.png", "CHNCXR_0327_1.png")}
    assert tiers == {"CHNCXR_0001_0.png": "B-nc-sa", "CHNCXR_0327_1.png": "A-permissive"}


def test_masks_of_two_sizes_are_refused_all_at_once(nlm):
    for stem in ("MCUCXR_0001_0", "MCUCXR_0104_1"):
        right = nlm / "MontgomerySet" / "ManualMask" / "rightMask" / f"{stem}.png"
        mask(right, np.s_[10:20], shape=(60, 40))
    with pytest.raises(ManifestError) as caught:
        tb(nlm)
    assert len(caught.value.message.splitlines()) == 2


def test_the_repackaged_single_folder_reads_too(tmp_path):
    touch(tmp_path / "CXR_png" / "MCUCXR_0001_0.png", tmp_path / "CXR_png" / "CHNCXR_0327_1.png")
    touch(tmp_path / "masks" / "MCUCXR_0001_0.png", tmp_path / "masks" / "CHNCXR_0327_1_mask.png")
    masks = {name: row.mask for name, row in tb(tmp_path).items()}
    assert masks == {
        "MCUCXR_0001_0.png": tmp_path / "masks" / "MCUCXR_0001_0.png",
        "CHNCXR_0327_1.png": tmp_path / "masks" / "CHNCXR_0327_1_mask.png",
    }


def test_a_folder_without_these_films_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="CXR_png"):
        tb(tmp_path)


def test_montgomerys_joined_masks_stand_beside_the_manifest(nlm, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "tb.csv"
    arguments = ["data", "montgomery-shenzhen", str(nlm), "--output", str(output)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    masks = {row.image.name: row.mask for row in read_manifest(output)}
    assert masks["MCUCXR_0104_1.png"] == output.parent / "tb.masks" / "MCUCXR_0104_1.png"
