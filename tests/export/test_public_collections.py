"""Public collections in their publishers' layouts, on made-up trees: `cxrexport data`."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cxrexport.cli.app import app
from cxrexport.datasets import read_covid_chestxray, read_hannover, read_montgomery_shenzhen
from cxrexport.datasets import read_nih as nih
from cxrexport.datasets.collected import age_in_years, label_of, sex_cell
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, read_manifest


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")


def by_name(rows: Iterable[FilmRow]) -> dict[str, FilmRow]:
    return {row.image.name: row for row in rows}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


# --- cells -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "years"),
    [
        ("58", "58"),
        ("58.0", "58"),
        ("058Y", "58"),
        ("018M", "1.5"),
        ("45yrs", "45"),
        ("16month", "1.33"),
        ("64days", "0.18"),
        ("0", "0"),
        ("120", "120"),
        ("", ""),
    ],
)
def test_ages_are_read_as_collections_write_them(written, years):
    assert age_in_years(written) == (years, "")


@pytest.mark.parametrize("written", ["412", "148Y", "121", "-1", "old", "5 light-years", "1e3"])
def test_an_impossible_age_is_left_empty_with_a_note(written):
    age, note = age_in_years(written)
    assert (age, note.startswith(f"age {written!r} left empty")) == ("", True)


@pytest.mark.parametrize(
    ("written", "cell"), [("F", "F"), ("w", "F"), ("femal", "F"), ("Male", "M"), ("", "")]
)
def test_sexes_are_read_as_collections_write_them(written, cell):
    assert sex_cell(written) == (cell, "")


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("COVID-19", "covid"),
        ("Pneumonia", "pneumonia"),
        ("Pleural_Thickening", "pleural-thickening"),
    ],
)
def test_a_finding_makes_a_label(finding, label):
    assert label_of(finding) == label


# --- NIH -------------------------------------------------------------------------------------

NIH_END = ",OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
NIH_2017 = (
    f"Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    f"{NIH_END}\n"
    "00000001_000.png,Cardiomegaly|Pneumonia,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n"
    "00000002_000.png,No Finding,0,2,412,F,AP,2500,2048,0.168,0.168,\n"
    "00000002_001.png,Mass,1,2,081Y,F,AP,2500,2048,0.168,0.168,\n"
    "00000003_000.png,No Finding,0,3,050Y,F,PA,2500,2048,0.168,0.168,\n"
)


@pytest.fixture
def chestxray14(tmp_path: Path) -> Path:
    """The archives unpacked beside the table of 2017; 00000003_000.png is not there."""
    (tmp_path / "Data_Entry_2017.csv").write_text(NIH_2017)
    touch(
        tmp_path / "images_001" / "images" / "00000001_000.png",
        tmp_path / "images_002" / "images" / "00000002_000.png",
        tmp_path / "images_002" / "images" / "00000002_001.png",
    )
    return tmp_path


def test_chestxray14_is_non_covid_with_its_findings_kept(chestxray14):
    rows = by_name(nih(chestxray14).rows)
    film = rows["00000001_000.png"]
    assert (film.label, film.finding) == ("non-covid", "Cardiomegaly|Pneumonia")
    assert (film.patient_id, film.age, film.sex, film.view) == ("nih-00001", 58.0, "M", "PA")
    assert (film.source, film.extra["followup_no"]) == ("nih-chestxray14", "0")


def test_chestxray14_with_a_finding_is_that_against_normal_and_the_rest_is_left_out(chestxray14):
    found = nih(chestxray14, positive="Pneumonia")
    labels = {name: row.label for name, row in by_name(found.rows).items()}
    assert labels == {"00000001_000.png": "pneumonia", "00000002_000.png": "normal"}
    assert found.reasons() == {"another finding": 1, "no file": 1}
    assert [(one.where, one.image) for one in found.left_out] == [
        ("Data_Entry_2017.csv:4", "00000002_001.png"),
        ("Data_Entry_2017.csv:5", "00000003_000.png"),
    ]


def test_an_impossible_age_of_chestxray14_is_empty_and_the_row_says_so(chestxray14):
    row = by_name(nih(chestxray14).rows)["00000002_000.png"]
    assert (row.age, "412" in row.extra["note"]) == (None, True)


def test_the_table_of_2020_with_patient_sex_and_a_flat_folder_reads_too(tmp_path):
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
        "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143\n"
    )
    touch(tmp_path / "images" / "00000001_000.png")
    (row,) = nih(tmp_path).rows
    assert (row.sex, row.age) == ("M", 57.0)


def test_a_finding_that_chestxray14_has_not_is_refused_with_those_it_has(chestxray14):
    with pytest.raises(ManifestError, match=r"no finding 'covid'.*Atelectasis, "):
        nih(chestxray14, positive="covid")


def test_a_folder_without_a_table_or_without_any_film_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="neither"):
        nih(tmp_path)
    (tmp_path / "Data_Entry_2017.csv").write_text(NIH_2017)
    with pytest.raises(ManifestError, match=r"no film is left of 4 \(no file 4\)"):
        nih(tmp_path)


# --- Montgomery and Shenzhen -----------------------------------------------------------------


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


# --- Cohen et al. ----------------------------------------------------------------------------

COHEN = (
    "patientid,offset,sex,age,finding,survival,view,modality,date,location,folder,filename,doi,url,"
    "license,clinical_notes\n"
    '2,0,M,65,Pneumonia/Viral/COVID-19,Y,PA,X-ray,2020,"Hanoi, Vietnam",images,a.jpg,,'
    "https://www.eurorad.org/case/1,CC BY-NC-SA,\n"
    "2,-3,M,65,Pneumonia/Viral/COVID-19,Y,AP Supine,X-ray,2020,,images,b.png,,,CC BY,\n"
    "3,,F,,Pneumonia/Viral/SARS,N,AP,X-ray,2004,,images,c.jpeg,,,,\n"
    "4,,F,30,Pneumonia/Viral/COVID-19,,L,X-ray,2020,,images,d.jpg,,,,\n"
    "5,,F,30,Pneumonia/Viral/COVID-19,,Axial,CT,2020,,volumes,e.nii.gz,,,,\n"
    "6,,F,30,todo,,PA,X-ray,2020,,images,f.jpg,,,,\n"
    "7,,F,30,Unknown,,PA,X-ray,2020,,images,f.jpg,,,,\n"
    "8,,F,30,No Finding,,Coronal,X-ray,2020,,images,f.jpg,,,,\n"
    "9,,F,30,No Finding,,PA,X-ray,2020,,images,gone.jpg,,,,\n"
)


@pytest.fixture
def cohen(tmp_path: Path) -> Path:
    (tmp_path / "metadata.csv").write_text(COHEN)
    touch(*(tmp_path / "images" / name for name in ("a.jpg", "b.png", "c.jpeg", "d.jpg", "f.jpg")))
    return tmp_path


def test_frontal_x_rays_are_kept_with_covid_against_everything_else(cohen):
    rows = by_name(read_covid_chestxray(cohen).rows)
    assert {name: (row.label, row.view) for name, row in rows.items()} == {
        "a.jpg": ("covid", "PA"),
        "b.png": ("covid", "AP Supine"),
        "c.jpeg": ("non-covid", "AP"),
    }
    film = rows["a.jpg"]
    assert (film.patient_id, film.sex, film.age, film.offset_days) == ("ccx-2", "M", 65.0, 0.0)
    assert film.offset_meaning == "days since symptom onset or hospitalisation"
    assert (film.source, film.licence_tier) == ("ieee8023/eurorad.org", "B-nc-sa")
    assert film.extra["location"] == "Hanoi, Vietnam"
    assert (rows["b.png"].offset_days, rows["b.png"].licence_tier) == (-3.0, "A-permissive")
    assert (rows["c.jpeg"].offset_days, rows["c.jpeg"].offset_meaning) == (None, None)


def test_everything_else_is_left_out_with_its_line_and_reason(cohen):
    assert [(one.where, one.reason) for one in read_covid_chestxray(cohen).left_out] == [
        ("metadata.csv:5", "lateral view"),
        ("metadata.csv:6", "not an X-ray"),
        ("metadata.csv:7", "finding unknown"),
        ("metadata.csv:8", "finding unknown"),
        ("metadata.csv:9", "not a frontal view"),
        ("metadata.csv:10", "no file"),
    ]


def test_another_finding_can_be_the_positive_one(cohen):
    rows = by_name(read_covid_chestxray(cohen, positive="SARS").rows)
    assert {row.label for row in rows.values()} == {"sars", "non-sars"}
    assert rows["c.jpeg"].label == "sars"


def test_a_finding_that_nothing_has_is_refused_with_those_there_are(cohen):
    with pytest.raises(ManifestError, match="COVID-19, No Finding, Pneumonia, SARS, Viral"):
        read_covid_chestxray(cohen, positive="MERS")


# --- Hannover --------------------------------------------------------------------------------

HANNOVER = (
    "patient_id,image_id,sex,age,size,weight,admission_offset,modality,projection,crp_val\n"
    "042f06a9,aaaa0001,m,,,,-5,CR,ap,5.0\n"
    "042f06a9,aaaa0002,m,,,,0,DX,pa,-inf\n"
    "09ec853d,aaaa0003,f,,,,4,CR,ap,\n"
    "09ec853d,aaaa0004,f,,,,10,CR,ap,\n"
    "09ec853d,aaaa0005,f,,,,22,CR,ap,\n"
    "0a359802,aaaa0006,w,,,,,CR,ap,\n"
    "0a359802,aaaa0007,w,,,,0,CR,ll,\n"
    "0a359802,aaaa0008,w,,,,0,CT,,\n"
    "0a359802,aaaa0009,w,,,,-1,CR,ap,\n"
)


@pytest.fixture
def hannover(tmp_path: Path) -> Path:
    (tmp_path / "data.csv").write_text(HANNOVER)
    touch(*(tmp_path / "png" / f"aaaa000{n}.png" for n in range(1, 9)))
    return tmp_path


def test_days_since_admission_are_the_offset_turned_round(hannover):
    rows = by_name(read_hannover(hannover).rows)
    assert {name: row.offset_days for name, row in rows.items()} == {
        "aaaa0001.png": 5.0,
        "aaaa0002.png": 0.0,
        "aaaa0003.png": -4.0,
    }
    film = rows["aaaa0001.png"]
    assert (film.label, film.patient_id, film.sex, film.view) == (
        "covid",
        "mhh-042f06a9",
        "M",
        "AP",
    )
    assert (film.source, film.offset_meaning) == ("hannover-mhh", "days since admission")


def test_films_before_the_disease_is_certain_and_others_are_left_out_with_the_reason(hannover):
    assert [(one.where, one.reason) for one in read_hannover(hannover).left_out] == [
        ("data.csv:5", "taken before the disease is certain"),
        ("data.csv:6", "taken before the disease is certain"),
        ("data.csv:7", "day unknown"),
        ("data.csv:8", "lateral view"),
        ("data.csv:9", "not a radiograph"),
        ("data.csv:10", "no file"),
    ]


def test_a_dicom_object_is_taken_before_its_png(hannover):
    touch(hannover / "dicom" / "aaaa0001.dcm")
    assert "aaaa0001.dcm" in by_name(read_hannover(hannover).rows)


# --- the command -----------------------------------------------------------------------------


def test_the_command_writes_a_manifest_and_lists_what_is_not_in_it(cohen, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "films.csv"
    result = run("covid-chestxray", "--root", cohen, "--output", output)
    assert result.exit_code == 0, result.output
    assert len(read_manifest(output, labels=["non-covid", "covid"])) == 3
    assert "left out, lateral view: 1" in result.stdout
    assert "6 left out in all" in result.stdout
    with output.with_suffix(".excluded.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert listed[0] == {
        "where": "metadata.csv:5",
        "image": "d.jpg",
        "reason": "lateral view",
        "what": "its view is L",
    }


def test_montgomerys_joined_masks_stand_beside_the_manifest(nlm, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "tb.csv"
    assert run("montgomery-shenzhen", nlm, "--output", output).exit_code == 0
    masks = {row.image.name: row.mask for row in read_manifest(output)}
    assert masks["MCUCXR_0104_1.png"] == output.parent / "tb.masks" / "MCUCXR_0104_1.png"


def test_a_note_about_an_empty_cell_is_counted(chestxray14):
    result = run("nih", "--root", chestxray14, "--output", chestxray14 / "nih.csv")
    assert "1 films have a cell left empty" in result.stdout


def test_two_runs_write_the_same_bytes(cohen, tmp_path):
    for name in ("one.csv", "two.csv"):
        run("covid-chestxray", cohen, "--output", tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ("nih",),
        ("nih", "DIR", "--root", "DIR"),
        ("hannover", "DIR", "--positive", "COVID-19"),
        ("nih", "no-such-folder"),
    ],
)
def test_a_folder_not_named_named_twice_or_not_there_is_a_usage_error(tmp_path, arguments):
    result = run(*(str(tmp_path) if a == "DIR" else a for a in arguments), "--output", "x.csv")
    assert result.exit_code == 2, result.output
    assert not Path("x.csv").exists()
