"""Ages, sexes and findings as public collections write them."""

from __future__ import annotations

import pytest

from cxrexport.datasets.collected import age_in_years, label_of, sex_cell


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
