"""The metadata CSV of an archive: checked whole before a film is sent, matched without guessing."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrclient.archive.metadata import FilmMetadata, match_films, read_metadata
from cxrclient.errors import MetadataError


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "metadata.csv"
    path.write_bytes(text.encode(encoding))
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(MetadataError) as caught:
        read_metadata(path)
    lines = caught.value.message.splitlines()
    return lines[1:] if lines[0].endswith("problems:") else lines


def test_known_columns_get_their_type_and_unknown_ones_go_along(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "image,patient_id,label,age,offset_days,sex,treatment\na.dcm, 4711 ,covid,61,-2,f,O2\n",
    )
    assert read_metadata(path) == (
        FilmMetadata(
            line=2,
            image="a.dcm",
            patient_id="4711",
            label="covid",
            columns={
                "age": 61.0,
                "offset_days": -2.0,
                "days": -2.0,
                "sex": "F",
                "treatment": "O2",
            },
        ),
    )


def test_days_of_its_own_come_before_those_of_a_manifest(tmp_path: Path) -> None:
    rows = read_metadata(written(tmp_path, "image,days,offset_days\na.dcm,3,9\nb.dcm,,9\n"))
    assert [row.columns["days"] for row in rows] == [3.0, 9.0]


def test_a_manifests_training_columns_stay_out_of_the_archive(tmp_path: Path) -> None:
    path = written(tmp_path, "image,mask,split,hard\na.dcm,masks/a.png,test,yes\n")
    assert read_metadata(path)[0].columns == {}


@pytest.mark.parametrize(
    "column",
    ["PatientID", "patientid", "Patient ID", "PATIENT_ID", "patient", "subject_id", "pid", "MRN"],
)
def test_a_column_like_a_patients_number_is_refused_and_patient_id_named(
    tmp_path: Path, column: str
) -> None:
    path = written(tmp_path, f"image,{column}\na.dcm,4711\n")
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:1: {column}: looks like a patient's number")
    assert "rename it to patient_id, or drop it" in problem


@pytest.mark.parametrize(
    "column",
    [
        "name",
        "Patient's Name",
        "PatientName",
        "last_name",
        "surname",
        "AccessionNumber",
        "accession",
        "birth_date",
        "PatientBirthDate",
        "date_of_birth",
        "DOB",
        "patient_dob",
        "home_address",
        "Phone",
        "contact-phone",
        "email",
        "e_mail",
        "ssn",
    ],
)
def test_a_column_named_like_an_identifier_is_refused_even_where_it_is_empty(
    tmp_path: Path, column: str
) -> None:
    path = written(tmp_path, f"image,{column}\na.dcm,\n")
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:1: {column}: looks like it identifies a person")
    assert "drop the column, or rename it" in problem


def test_columns_of_manifests_and_of_medicine_are_not_taken_for_identifiers(tmp_path: Path) -> None:
    header = (
        "image,patient_id,label,mask,view,sex,age,offset_days,offset_meaning,followup_no,source,"
        "finding,hard,location,licence,licence_tier,attribution,source_url,width,split,drawn_marks,"
        "outpatient,patient_position,filename,scanner_name,illness_note,survival,intubated,pH"
    )
    numbers = {"age": "61", "offset_days": "2", "sex": "F"}
    row = ",".join(numbers.get(name, "x") for name in header.split(","))
    (film,) = read_metadata(written(tmp_path, f"{header}\n{row}\n"))
    assert set(film.columns) >= {"offset_days", "illness_note", "pH"}
    assert (
        len(film.columns) - 1 == len(header.split(",")) - 6
    )  # days; image, patient, label; mask, split …


@pytest.mark.parametrize("column", ["id", "embedding", "probability", "patient_key"])
def test_a_column_that_the_archive_has_itself_is_refused_before_a_film_is_sent(
    tmp_path: Path, column: str
) -> None:
    path = written(tmp_path, f"image,{column}\na.dcm,1\n")
    assert problems(path) == [
        f"{path}:1: {column}: the archive has its own field of this name; drop or rename the column"
    ]


@pytest.mark.parametrize(
    ("column", "values", "stored"),
    [
        ("icu_days", ["3", "", "-2.5"], [3.0, None, -2.5]),
        ("dose", ["1e3", "0", "0.5"], [1000.0, 0.0, 0.5]),
        ("ward", ["3", "4b", "5"], ["3", "4b", "5"]),
        ("site_id", ["1", "2", "3"], ["1", "2", "3"]),  # ids are no numbers
        ("tray", ["007", "8", "9"], ["007", "8", "9"]),
        ("barcode", ["12345678901234567", "1", "2"], ["12345678901234567", "1", "2"]),
        ("oxygen", ["nan", "inf", "1"], ["nan", "inf", "1"]),
    ],
)
def test_a_column_is_numbers_where_every_value_is_one(
    tmp_path: Path, column: str, values: list[str], stored: list[object]
) -> None:
    lines = [f"{number}.dcm,{value}" for number, value in enumerate(values)]
    path = written(tmp_path, "\n".join([f"image,{column}", *lines, ""]))
    found = [row.columns.get(column) for row in read_metadata(path)]
    assert found == stored
    assert [type(value) for value in found] == [type(value) for value in stored]


def test_empty_cells_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "image,age,treatment,\na.dcm,,,\n")
    assert read_metadata(path)[0].columns == {}


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("image", "", "empty"),
        ("patient_id", "", "empty"),
        ("label", "", "empty"),
        ("label", "x" * 129, "129 bytes of text"),
        ("age", "077Y", "'077Y' is a DICOM age string"),
        ("age", "-1", "'-1' is no age"),
        ("age", "inf", "'inf' is not a number"),
        ("offset_days", "soon", "'soon' is not a number"),
        ("days", "3rd", "'3rd' is not a number"),
        ("sex", "W", "'W' is not F or M"),
    ],
)
def test_a_bad_cell_is_named_with_file_line_and_column(
    tmp_path: Path, column: str, value: str, what: str
) -> None:
    cells = {"image": "a.dcm", "note": "x", column: value}
    path = written(tmp_path, f"{','.join(cells)}\n{','.join(cells.values())}\n")
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:2: {column}: {what}")


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "image,age\na.dcm,old\nb.dcm,-5\na.dcm,5\nc.dcm,5,6\n")
    assert [p.removeprefix(f"{path}:").split(":")[0] for p in problems(path)] == ["5"]
    path = written(tmp_path, "image,age\na.dcm,old\nb.dcm,-5\na.dcm,5\n")
    assert [p.removeprefix(f"{path}:").split(":")[0] for p in problems(path)] == ["2", "3", "4"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("film,label\na.dcm,covid\n", "1: image: the column is missing"),
        ("image;label\na.dcm;covid\n", "separated by semicolons"),
        ("image,label,label\na.dcm,x,y\n", "1: label: the column is there twice"),
        ("image,\na.dcm,x\n", "2: (no name): 'x' stands in a column without a name"),
        ("image\n", "no rows"),
        ('image\n"a.dcm\n', "2: not a CSV row"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, what: str) -> None:
    assert what in problems(written(tmp_path, text))[0]


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "image,note\na.dcm,Müller\n", "latin-1")
    assert problems(path) == [f"{path}:2: not UTF-8; save the table as CSV with the encoding UTF-8"]


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in problems(tmp_path / "none.csv")[0]


# --- matching --------------------------------------------------------------------------------


def matched(folder: Path, images: list[str], films: list[Path]) -> dict[str, str]:
    rows = [FilmMetadata(line=n, image=image) for n, image in enumerate(images, 2)]
    found = match_films(rows, films, folder / "metadata.csv")
    return {Path(film).relative_to(folder).as_posix(): row.image for film, row in found.items()}


def test_a_row_is_found_by_path_relative_path_or_name(tmp_path: Path) -> None:
    films = [tmp_path / "deep" / "a" / name for name in ("1.dcm", "2.dcm", "3.dcm", "4.dcm")]
    images = ["deep/a/1.dcm", "a/2.dcm", "3.dcm"]
    assert matched(tmp_path, images, films) == {
        "deep/a/1.dcm": "deep/a/1.dcm",
        "deep/a/2.dcm": "a/2.dcm",
        "deep/a/3.dcm": "3.dcm",
    }


def test_a_name_matches_whole_path_parts_only(tmp_path: Path) -> None:
    assert matched(tmp_path, ["1.dcm"], [tmp_path / "x" / "21.dcm"]) == {}


def test_the_row_with_the_longer_path_wins(tmp_path: Path) -> None:
    films = [tmp_path / "x" / "a" / "1.dcm", tmp_path / "x" / "b" / "1.dcm"]
    assert matched(tmp_path, ["a/1.dcm", "1.dcm"], films) == {
        "x/a/1.dcm": "a/1.dcm",
        "x/b/1.dcm": "1.dcm",
    }


def test_a_name_that_fits_two_films_is_refused(tmp_path: Path) -> None:
    films = [tmp_path / "x" / "1.dcm", tmp_path / "y" / "1.dcm"]
    with pytest.raises(MetadataError, match=r":2: image: fits 2 films"):
        matched(tmp_path, ["1.dcm"], films)


def test_a_film_that_two_rows_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="lines 2 and 3 both fit"):
        matched(tmp_path, ["1.dcm", "./1.dcm"], [tmp_path / "x" / "1.dcm"])
