"""`--view AP --age 40-60 …`: what a command's options ask of the films of an archive."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cxrclient.errors import UsageError

if TYPE_CHECKING:
    from cxrclient.archive import Filter

# 40-60, 40-, -60, 40; with two dots instead of the dash also below zero: -3..0.
_NUMBER = r"\d+(?:\.\d+)?"
_DASHED = re.compile(rf"(?P<low>{_NUMBER})?-(?P<high>{_NUMBER})?")
_DOTTED = re.compile(rf"(?P<low>-?{_NUMBER})?\.\.(?P<high>-?{_NUMBER})?")
_ONE = re.compile(_NUMBER)


def film_filters(
    *,
    view: Sequence[str] | None,
    sex: Sequence[str] | None,
    source: Sequence[str] | None,
    label: Sequence[str] | None,
    age: str | None,
    days: str | None,
) -> dict[str, Filter]:
    """As `SimilarityIndex.search` takes them. Raises UsageError where a range is none."""
    filters: dict[str, Filter] = {}
    for name, values in (("view", view), ("sex", sex), ("source", source), ("label", label)):
        if values:
            filters[name] = [v.upper() for v in values] if name == "sex" else list(values)
    for name, written in (("age", age), ("days", days)):
        if written is not None:
            filters[name] = _range(name, written)
    return filters


def _range(name: str, written: str) -> tuple[float | None, float | None]:
    text = written.strip()
    if _ONE.fullmatch(text):
        return float(text), float(text)
    found = _DASHED.fullmatch(text) or _DOTTED.fullmatch(text)
    low, high = (found["low"], found["high"]) if found else (None, None)
    if low is None and high is None:
        such = {"age": "40-60, 40-, -60 or 40", "days": "0-3, 3-, -3 or 3 (-3..0 below zero)"}[name]
        raise UsageError(f"--{name} {written!r} is no range: write {such}.")
    numbers = (None if low is None else float(low), None if high is None else float(high))
    if numbers[0] is not None and numbers[1] is not None and numbers[0] > numbers[1]:
        raise UsageError(f"--{name} {written}: the range ends before it begins.")
    return numbers


def filter_note(filters: Mapping[str, Filter], where: str | None) -> str | None:
    """What the neighbours were chosen from, for the reader; None where from all films."""
    asked = [f"{name} {_in_words(value)}" for name, value in filters.items()]
    asked += [where] if where else []
    return f"Only among films with {', '.join(asked)}." if asked else None


def _in_words(value: Filter) -> str:
    if isinstance(value, tuple):
        low, high = value
        bounds = (
            f"from {low:g}" if low is not None else "",
            f"to {high:g}" if high is not None else "",
        )
        return " ".join(bound for bound in bounds if bound)
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)
