"""NIH ChestX-ray14 in its published layouts, on made-up trees."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.datasets import read_nih
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")


def by_name(rows: Iterable[FilmRow]) -> dict[str, FilmRow]:
    return {row.image.name: row for row in rows}


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
    rows = by_name(read_nih(chestxray14).rows)
    film = rows["00000001_000.png"]
    assert (film.label, film.finding) == ("non-covid", "Cardiomegaly|Pneumonia")
    assert (film.patient_id, film.age, film.sex, film.view) == ("nih-00001", 58.0, "M", "PA")
    assert (film.source, film.extra["followup_no"]) == ("nih-chestxray14", "0")


def test_chestxray14_with_a_finding_is_that_against_normal_and_the_rest_is_left_out(chestxray14):
    found = read_nih(chestxray14, positive="Pneumonia")
    labels = {name: row.label for name, row in by_name(found.rows).items()}
    assert labels == {"00000001_000.png": "pneumonia", "00000002_000.png": "normal"}
    assert found.reasons() == {"another finding": 1, "no file": 1}
    assert [(one.where, one.image) for one in found.left_out] == [
        ("Data_Entry_2017.csv:4", "00000002_001.png"),
        ("Data_Entry_2017.csv:5", "00000003_000.png"),
    ]


def test_an_impossible_age_of_chestxray14_is_empty_and_the_row_says_so(chestxray14):
    row = by_name(read_nih(chestxray14).rows)["00000002_000.png"]
    assert (row.age, "412" in row.extra["note"]) == (None, True)


def test_the_table_of_2020_with_patient_sex_and_a_flat_folder_reads_too(tmp_path):
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
        "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143\n"
    )
    touch(tmp_path / "images" / "00000001_000.png")
    (row,) = read_nih(tmp_path).rows
    assert (row.sex, row.age) == ("M", 57.0)


def test_a_finding_that_chestxray14_has_not_is_refused_with_those_it_has(chestxray14):
    with pytest.raises(ManifestError, match=r"no finding 'covid'.*Atelectasis, "):
        read_nih(chestxray14, positive="covid")


def test_a_folder_without_a_table_or_without_any_film_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="neither"):
        read_nih(tmp_path)
    (tmp_path / "Data_Entry_2017.csv").write_text(NIH_2017)
    with pytest.raises(ManifestError, match=r"no film is left of 4 \(no file 4\)"):
        read_nih(tmp_path)


def test_a_note_about_an_empty_cell_is_counted(chestxray14):
    arguments = ["data", "nih", "--root", str(chestxray14)]
    result = CliRunner().invoke(app, [*arguments, "--output", str(chestxray14 / "nih.csv")])
    assert "1 films have an empty cell" in result.stdout
