"""Manifests: what is read, what is refused, and where it points."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, read_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with four films and one mask; contents do not matter to a manifest."""
    for name in ("a.dcm", "b.png", "c.jpg", "d.png", "a_mask.png"):
        (tmp_path / name).write_bytes(b"film")
    return tmp_path


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    path.write_bytes(text.encode(encoding))
    return path


def problems(path: Path, **options: object) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, **options)  # type: ignore[arg-type]
    lines = caught.value.message.splitlines()
    return lines[1:] if lines[0].endswith("problems:") else lines


# --- reading ---------------------------------------------------------------------------------


def test_every_known_column_gets_its_type_and_unknown_columns_are_kept(folder: Path) -> None:
    path = written(
        folder,
        "image,patient_id,label,mask,view,sex,age,offset_days,offset_meaning,source,finding,hard,"
        "licence_tier,split,treatment\n"
        'a.dcm, p1 ,covid,a_mask.png,AP,f,61.5,-2,since admission,"Hospital, north",pneumonia,yes,'
        "A-permissive,test,oxygen\n",
    )
    assert read_manifest(path) == (
        FilmRow(
            image=folder / "a.dcm",
            mask=folder / "a_mask.png",
            patient_id="p1",
            label="covid",
            view="AP",
            sex="F",
            age=61.5,
            offset_days=-2.0,
            offset_meaning="since admission",
            source="Hospital, north",
            finding="pneumonia",
            hard=True,
            licence_tier="A-permissive",
            split="test",
            extra={"treatment": "oxygen"},
        ),
    )


def test_empty_optional_cells_read_as_nothing(folder: Path) -> None:
    path = written(folder, "image,patient_id,label,sex,age,hard,split\na.dcm,p1,covid,,,,\n")
    (row,) = read_manifest(path)
    assert (row.sex, row.age, row.hard, row.split, row.mask) == (None, None, False, None, None)


def test_relative_paths_start_at_root_when_given(folder: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = written(elsewhere, "image,patient_id,label\na.dcm,p1,covid\n")
    assert read_manifest(path, root=folder)[0].image == folder / "a.dcm"


def test_images_are_absolute_even_from_a_relative_manifest_path(folder: Path, monkeypatch) -> None:
    written(folder, "image,patient_id,label\na.dcm,p1,covid\n")
    monkeypatch.chdir(folder)
    assert read_manifest("manifest.csv")[0].image.is_absolute()


def test_a_byte_order_mark_and_empty_lines_of_a_spreadsheet_are_fine(folder: Path) -> None:
    path = written(
        folder, "image,patient_id,label\r\n\r\na.dcm,p1,covid\r\n,,\r\n", encoding="utf-8-sig"
    )
    assert [row.row for row in read_manifest(path)] == [3]


def test_lines_that_end_in_a_comma_are_fine(folder: Path) -> None:
    path = written(folder, "image,patient_id,label,\na.dcm,p1,covid,\nb.png,p2,covid\n")
    assert [row.extra for row in read_manifest(path)] == [{}, {}]


def test_row_is_the_line_where_the_record_starts_also_after_a_cell_with_line_breaks(
    folder: Path,
) -> None:
    path = written(
        folder, 'image,patient_id,label,note\na.dcm,p1,covid,"one\ntwo"\nb.png,p2,covid,\n'
    )
    assert [row.row for row in read_manifest(path)] == [2, 4]


# --- refusing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("image", "gone.png", "no such file: gone.png"),
        ("image", "", "empty"),
        ("image", "x\0y", "no such file"),
        ("mask", "gone.png", "no such file: gone.png"),
        ("patient_id", "", "empty"),
        ("patient_id", "   ", "empty"),
        ("label", "", "empty"),
        ("label", "Covid", "unknown label 'Covid'; known are covid, non-covid"),
        ("sex", "W", "'W' is not F or M"),
        ("age", "077Y", "'077Y' is a DICOM age string"),
        ("age", "-1", "'-1' is no age"),
        ("age", "nan", "'nan' is not a number"),
        ("age", "999", "'999' is no age"),
        ("offset_days", "three", "'three' is not a number"),
        ("offset_days", "inf", "'inf' is not a number"),
        ("hard", "maybe", "'maybe' is neither yes nor no"),
        ("split", "dev", "unknown split 'dev'; known are train, validation, test"),
    ],
)
def test_a_bad_cell_is_named_with_file_line_and_column(
    folder: Path, column: str, value: str, what: str
) -> None:
    cells = {"image": "a.dcm", "patient_id": "p1", "label": "covid", column: value}
    path = written(folder, f"{','.join(cells)}\n{','.join(cells.values())}\n")
    (problem,) = problems(path, labels=["covid", "non-covid"])
    assert problem.startswith(f"{path}:2: {column}: {what}")


def test_all_problems_of_all_rows_are_reported_at_once(folder: Path) -> None:
    path = written(
        folder,
        "image,patient_id,label,age\ngone.png,,covid,077Y\nb.png,p2,flu,\nc.jpg,p3,covid,-1\n",
    )
    found = [p.removeprefix(f"{path}:").split(":")[:2] for p in problems(path, labels=["covid"])]
    assert sorted(found) == [
        ["2", " age"],
        ["2", " image"],
        ["2", " patient_id"],
        ["3", " label"],
        ["4", " age"],
    ]


def test_a_mask_is_asked_for_where_it_is_needed(folder: Path) -> None:
    path = written(folder, "image,patient_id,label,mask\na.dcm,p1,tb,a_mask.png\nb.png,p2,tb,\n")
    (problem,) = problems(path, need_mask=True)
    assert problem.startswith(f"{path}:3: mask: empty")


def test_a_patient_in_two_splits_is_refused(folder: Path) -> None:
    path = written(
        folder, "image,patient_id,label,split\na.dcm,p1,covid,train\nb.png,p1,covid,test\n"
    )
    (problem,) = problems(path)
    assert problem == f"{path}:3: split: patient p1 is in test here and in train in line 2"


def test_a_patient_half_of_whose_films_have_no_split_is_refused(folder: Path) -> None:
    path = written(folder, "image,patient_id,label,split\na.dcm,p1,covid,test\nb.png,p1,covid,\n")
    assert "in no split here and in test in line 2" in problems(path)[0]


def test_the_same_film_in_two_rows_is_refused_however_its_path_is_spelled(folder: Path) -> None:
    path = written(folder, "image,patient_id,label\na.dcm,p1,covid\n./a.dcm,p2,covid\n")
    (problem,) = problems(path)
    assert problem == (
        f"{path}:3: image: the same film as in line 2 (the same file); "
        "patient p2 here, p1 in line 2: no split by patient keeps them on one side"
    )


def test_every_missing_column_is_named(folder: Path) -> None:
    path = written(folder, "image,patient\na.dcm,p1\n")
    assert problems(path) == [
        f"{path}:1: patient_id: the column is missing",
        f"{path}:1: label: the column is missing",
    ]


def test_a_table_separated_by_semicolons_is_recognised(folder: Path) -> None:
    path = written(folder, "image;patient_id;label\na.dcm;p1;covid\n")
    assert "separated by semicolons" in problems(path)[0]


def test_a_column_that_is_there_twice_is_refused(folder: Path) -> None:
    path = written(folder, "image,patient_id,label,label\na.dcm,p1,covid,non-covid\n")
    assert problems(path) == [f"{path}:1: label: the column is there twice"]


def test_a_row_of_the_wrong_length_is_refused_and_the_others_are_still_counted(
    folder: Path,
) -> None:
    path = written(folder, "image,patient_id,label\na.dcm,p1,covid,AP\nb.png,p2\n")
    assert [p.split(":")[1] for p in problems(path)] == ["2", "3"]


def test_an_unclosed_quote_is_refused_with_the_line_where_it_opens(folder: Path) -> None:
    path = written(folder, 'image,patient_id,label\na.dcm,p1,covid\nb.png,"p2,covid\nc.jpg,p3,x\n')
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:3: not a CSV row")


def test_a_file_that_is_not_utf8_is_refused_with_its_line(folder: Path) -> None:
    path = written(folder, "image,patient_id,label\na.dcm,p1,covid\nb.png,Müller,x\n", "latin-1")
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:3: not UTF-8")


@pytest.mark.parametrize("text", ["", "image,patient_id,label\n"])
def test_a_manifest_without_rows_is_refused(folder: Path, text: str) -> None:
    path = written(folder, text)
    assert "no rows" in problems(path)[0]


def test_a_manifest_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        assert "cannot be read" in problems(path)[0]
