"""The preprocessing's benchmark: whose time is whose, and what is met."""

from __future__ import annotations

from typing import Any

import pytest
from preprocessing import _ratio, summary
from preprocessing_report import MOST_MS, REAL, goals
from preprocessing_stages import _Watch

Row = tuple[str, str, str, str]


def result(product_ms: float, over: float, *, missing: str | None = None) -> dict[str, Any]:
    """A run in which the product takes so long and everything else `over` times as long."""
    names = ("product", "numpy") if missing else ("product", "numpy", "MONAI")
    rows = [
        {"film": film, "threads": threads, "name": name, "over_product": over * threads / 2,
         "median_ms": product_ms * 2 / threads}
        for film in MOST_MS for threads in (1, 2) for name in names
    ]  # fmt: skip
    return {"in_turns": rows, "missing": missing}


def rows_of(found: dict[str, Any]) -> list[tuple[str, str]]:
    table = goals(found, "product", "numpy", "MONAI")
    return [(measured, met) for _, _, measured, met in table.rows]


def test_the_bars_hold_for_all_cores() -> None:
    assert rows_of(result(7.9, 18.5)) == [
        ("7.90 ms", "yes"), ("7.90 ms", "yes"), ("18.5", "yes"), ("18.5", "yes"),
    ]  # fmt: skip


def test_what_misses_its_bar_is_not_met() -> None:
    assert [met for _, met in rows_of(result(8.1, 6.9))] == ["no", "yes", "no", "no"]


def test_what_was_not_measured_says_why() -> None:
    reason = "skimage is missing: pip install monai scikit-image"
    assert rows_of(result(7.0, 9.0, missing=reason))[-1] == (f"skipped: {reason}", "-")


def test_the_real_film_is_what_the_ratios_are_of() -> None:
    found = result(7.0, 20.0)
    for row in found["in_turns"]:
        row["over_product"] = 20.0 if row["film"] == REAL else 1.0
    assert [met for _, met in rows_of(found)] == ["yes"] * 4


def test_a_ratio_is_taken_within_each_round() -> None:
    """A round in which the machine was ten times slower counts as every other."""
    slow, product = [[(0.4, 0)], [(4.0, 0)], [(0.2, 0)]], [[(0.1, 0)], [(1.0, 0)], [(0.1, 0)]]
    assert _ratio(slow, product) == pytest.approx(4.0)


def test_a_summary_is_in_milliseconds() -> None:
    found = summary([(0.001, 0.002), (0.003, 0.004), (0.002, 0.009)])
    assert found["median_ms"] == pytest.approx(2.0)
    assert found["shortest_ms"] == pytest.approx(1.0)
    assert found["cpu_ms"] == pytest.approx(4.0)


def test_a_stage_does_not_count_the_stages_that_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]  # a clock that only the stages turn
    monkeypatch.setattr("preprocessing_stages.time.perf_counter", lambda: now[0])
    watch = _Watch()

    def work(seconds: float) -> None:
        now[0] += seconds

    inner = watch.around("inner", lambda: work(5))

    def outer() -> None:
        work(1)
        inner()

    watch.around("outer", outer)()
    assert watch.taken["inner"][0] == 5
    assert watch.taken["outer"][0] == 1
