"""`--age 40-60` and its like."""

from __future__ import annotations

import pytest

from cxrclient.cli.options.filters import film_filters
from cxrclient.errors import UsageError

NOTHING = {"view": None, "sex": None, "source": None, "label": None, "age": None, "days": None}


@pytest.mark.parametrize(
    ("written", "bounds"),
    [
        ("40-60", (40, 60)),
        ("40-", (40, None)),
        ("-60", (None, 60)),
        ("40", (40, 40)),
        ("0.5-1.25", (0.5, 1.25)),
        (" 0-3 ", (0, 3)),
        ("-3..0", (-3, 0)),
        ("-3..", (-3, None)),
        ("..-1", (None, -1)),
        ("2..4", (2, 4)),
    ],
)
def test_a_range_is_read(written: str, bounds: tuple[float | None, float | None]) -> None:
    assert film_filters(**NOTHING | {"days": written}) == {"days": bounds}


@pytest.mark.parametrize(
    "written", ["", "-", "..", "a-b", "40-60-80", "60-40", "4 0", "1e3", "--3"]
)
def test_what_is_no_range_is_refused_by_name(written: str) -> None:
    with pytest.raises(UsageError, match="--age"):
        film_filters(**NOTHING | {"age": written})


def test_words_are_kept_and_sex_is_in_capitals() -> None:
    given = {"view": ["AP", "PA"], "sex": ["f"], "source": [], "label": ["non-covid"]}
    assert film_filters(**NOTHING | given) == {
        "view": ["AP", "PA"],
        "sex": ["F"],
        "label": ["non-covid"],
    }
