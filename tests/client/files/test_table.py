"""A table is read strictly, and each fault says where it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from cxrclient.files import (
    MAX_AGE_YEARS,
    TableFault,
    as_age,
    as_number,
    as_sex,
    csv_text,
    faults_text,
    in_years,
    scan_table,
)


def scanned(folder: Path, text: str, **options):
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8", newline="")
    options.setdefault("required", ("image",))
    records, faults = scan_table(path, **options)
    return [(each.line, dict(each.cells)) for each in records], [
        (fault.line, fault.column, fault.code) for fault in faults
    ]


def test_rows_come_with_the_line_where_they_start(tmp_path):
    text = '\ufeffimage, note\r\n\r\na.png,"two\nlines"\r\n b.png ,x\r\n'
    assert scanned(tmp_path, text) == (
        [(3, {"image": "a.png", "note": "two\nlines"}), (5, {"image": "b.png", "note": "x"})],
        [],
    )


def test_empty_cells_behind_the_last_column_are_passed_over(tmp_path):
    rows, faults = scanned(tmp_path, "image,age,,\na.png,3,,\nb.png,4\n")
    assert ([cells for _, cells in rows], faults) == (
        [{"image": "a.png", "age": "3"}, {"image": "b.png", "age": "4"}],
        [],
    )


def test_every_fault_of_every_row_is_told_with_its_place(tmp_path):
    rows, faults = scanned(tmp_path, "image,,\na.png,x\nb.png\nc.png,,y,z\n")
    assert [cells["image"] for _, cells in rows] == ["b.png"]
    assert faults == [(2, "(no name)", "TABLE"), (4, "", "TABLE")]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("film\na.png\n", [(1, "image", "TABLE")]),
        ("image,name,image\na,b,c\n", [(1, "name", "TABLE"), (1, "image", "TABLE")]),
        ('image\na.png\n"b', [(3, "", "TABLE")]),
        ("image\n", [(0, "", "TABLE")]),
        ("", [(0, "", "TABLE")]),
    ],
)
def test_what_is_no_such_table_is_a_fault(tmp_path, text, faults):
    refusal = {"name": "stands for a person"}.get
    assert scanned(tmp_path, text, refusal=refusal)[1] == faults


def test_a_file_that_cannot_be_read_is_a_fault_too(tmp_path):
    (records, faults) = scan_table(tmp_path, required=("image",))
    assert (records, [str(each) for each in faults]) == (
        [],
        [f"{tmp_path}: cannot be read (It is a folder)"],
    )
    (tmp_path / "latin.csv").write_bytes("image\nRücken.png\n".encode("latin-1"))
    (_, (fault,)) = scan_table(tmp_path / "latin.csv", required=("image",))
    assert str(fault).startswith(f"{tmp_path}/latin.csv:2: not UTF-8")


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5))
def test_what_we_write_is_read_back(cells):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        stripped = [cell.strip() for cell in cells]
        path.write_text(csv_text(["image"], [[c] for c in stripped]), "utf-8", newline="")
        records, _ = scan_table(path, required=("image",))
    assert [each.cells["image"] for each in records] == [cell for cell in stripped if cell]


def test_faults_are_told_in_the_order_of_their_lines():
    path = Path("t.csv")
    one, two = TableFault(path, 9, "age", "is none"), TableFault(path, 2, "", "has 3 cells")
    assert faults_text([]) == ""
    assert faults_text([one]) == "t.csv:9: age: is none"
    assert faults_text([one, two]) == "2 problems:\nt.csv:2: has 3 cells\nt.csv:9: age: is none"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "", "12 kg", "0x10"])
def test_only_finite_numbers_are_numbers(value):
    with pytest.raises(ValueError, match="is not a number"):
        as_number(value)


@pytest.mark.parametrize(("value", "years"), [("45", 45), ("0", 0), ("1.5", 1.5), ("125", 125)])
def test_an_age_is_a_number_of_years(value, years):
    assert as_age(value) == years <= MAX_AGE_YEARS


@pytest.mark.parametrize("value", ["063Y", "018M", "-1", "126", "NaN", "old"])
def test_what_is_no_age_in_years_is_refused(value):
    with pytest.raises(ValueError, match=value):
        as_age(value)


@pytest.mark.parametrize(
    ("number", "unit", "years"), [(63, "Y", 63), (18, "M", 1.5), (36525, "D", 100), (0, "W", 0)]
)
def test_dicom_ages_are_turned_into_years(number, unit, years):
    assert in_years(number, unit) == pytest.approx(years)


def test_another_unit_of_an_age_is_refused():
    with pytest.raises(ValueError, match="'H'"):
        in_years(3, "H")


def test_sexes_are_read_in_capital_letters():
    assert [as_sex(value) for value in ("f", "M", "o", "unknown")] == ["F", "M", "O", "UNKNOWN"]
    with pytest.raises(ValueError, match="'w' is not F or M"):
        as_sex("w")


def test_forty_equal_faults_are_five_and_a_count():
    faults = [TableFault(Path("m.csv"), n, "age", f"'{n}x' is no age") for n in range(2, 42)]
    other = TableFault(Path("m.csv"), 50, "sex", "'X' is no sex")
    lines = faults_text([*faults, other]).splitlines()
    assert lines[0] == "41 problems:"
    assert lines[1:6] == list(map(str, faults[:5]))
    assert lines[6:] == [str(other), "and 35 more of this kind in the column age"]
