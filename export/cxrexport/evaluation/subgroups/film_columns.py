"""The manifest's columns that subgroups are made of, and a film's value in each."""

from __future__ import annotations

from collections.abc import Sequence

from cxrexport.manifest import FilmRow

COLUMNS = ("sex", "age", "view", "source", "finding", "hard")
AGE_BANDS = ((0.0, 40.0, "<40"), (40.0, 60.0, "40-59"), (60.0, 80.0, "60-79"), (80.0, None, ">=80"))
"""From (inclusive), to (exclusive), name; years."""


def age_band(age: float) -> str:
    """The band of an age in years."""
    return next(name for _, end, name in AGE_BANDS if end is None or age < end)


def value_of(film: FilmRow, column: str) -> str | None:
    """A film's value in one of `COLUMNS`; None where it is not known."""
    match column:
        case "age":
            return None if film.age is None else age_band(film.age)
        case "hard":
            return "yes" if film.hard else "no"
        case _:
            value = getattr(film, column)
            return None if value is None else str(value)


def values_of(films: Sequence[FilmRow], column: str) -> list[str | None]:
    """Every value that occurs: bands by age, `yes` first, names by name; not known last."""
    there = {value_of(film, column) for film in films}
    known = sorted(value for value in there if value is not None)
    if column == "age":
        known = [name for _, _, name in AGE_BANDS if name in there]
    elif column == "hard":
        known.reverse()
    return [*known, *([None] if None in there else [])]


def absent_columns(films: Sequence[FilmRow]) -> dict[str, str]:
    """Column → sentence, for columns without a value in any film."""
    absent = {
        column: f"no film has a value in the column {column}"
        for column in COLUMNS
        if column != "hard" and all(value_of(film, column) is None for film in films)
    }
    if not any(film.hard for film in films):
        absent["hard"] = "no film is marked hard"
    return absent
