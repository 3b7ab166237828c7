"""Cohen's collection and Hannover's repository of COVID-19 films, on made-up trees."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cxrexport.cli.app import app
from cxrexport.datasets import read_covid_chestxray, read_hannover
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
