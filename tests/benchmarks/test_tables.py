"""Numbers as they are read, tables as Markdown."""

from __future__ import annotations

import pytest
from reports.tables import Table, digits, percent, to_markdown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.012345, "0.0123"), (1.23456, "1.23"), (12.3456, "12.3"), (1234.5, "1230")),
        *((9.996, "10.0"), (0.5, "0.500"), (0, "0"), (None, "-"), (-2.5, "-2.50")),
    ],
)
def test_a_number_has_three_digits_and_no_exponent(value: float | None, text: str) -> None:
    assert digits(value) == text


def test_a_share_is_a_whole_percentage() -> None:
    assert (percent(0.874), percent(None)) == ("87 %", "-")


def test_a_table_without_a_title_is_the_table_alone() -> None:
    assert to_markdown(Table("", ("a",), [("1",)])).splitlines() == ["| a |", "|---|", "| 1 |"]


def test_markdown_keeps_cells_apart_and_notes_below() -> None:
    table = Table("Title", ("name", "x"), [("a|b", "1")], ["A note."])
    assert to_markdown(table).splitlines() == [
        *("**Title**", "", "| name | x |", "|---|---:|", "| a\\|b | 1 |", "", "A note.")
    ]
