"""Results to tables: what failed or was not measured says so, and the rest is told."""

from __future__ import annotations

from typing import Any

from reports.ensemble import ensemble_tables, served_table
from reports.stages import stages_tables


def triton(concurrency: int, films_s: float) -> dict[str, Any]:
    row = {"alternative": "triton", "precision": "f32", "concurrency": concurrency, "films": 9}
    row |= {"films_s": films_s, "p50_ms": 1e3 * concurrency / films_s, "p95_ms": None}
    return row | {"cpu_s_per_film": 0.5, "peak_mb": 1000.0 + concurrency, "difference": None}


def result(*rows: dict[str, Any]) -> dict[str, Any]:
    facts = {"gmac": {"vgg16": 2.0}, "ready_s": {"f32": 4.0}, "skipped": []}
    scenario = {"name": "paper", "measurements": list(rows), "shares": [], "ratios": [], **facts}
    return {"scenarios": [scenario, {"name": "starter", "failed": "RuntimeError: no"}]}


def test_what_is_served_is_the_best_rate_the_most_memory_and_a_film_alone() -> None:
    (row,) = served_table(result(triton(1, 2.0), triton(4, 2.5), triton(16, 2.4))).rows
    assert row == ("paper, f32", "2.50", "4", "500", "0.500", "1020", "4.00")


def test_no_film_alone_is_none_where_only_many_were_in_flight() -> None:
    (row,) = served_table(result(triton(4, 2.5))).rows
    assert row[3] == "-"


def test_a_scenario_that_failed_says_so_beside_the_others() -> None:
    (table,) = ensemble_tables(result(triton(1, 2.0)))
    assert len(table.rows) == 1
    assert table.notes[-1] == "starter failed: RuntimeError: no"


def test_stages_of_a_scenario_that_failed_are_left_out_with_a_word() -> None:
    stage = {"input_ms": 1.0, "infer_ms": 8.0, "output_ms": 1.0}
    load = {"wall_s": 0.5, "films": 1}
    paper = {"name": "paper", "gmac": {"vgg16": 2.0}, "alone": {"vgg16": stage}}
    paper["in_ensemble"] = {"1": load, "8": load}
    scenarios = [paper, {"name": "starter", "failed": "RuntimeError: no"}]
    (table,) = stages_tables({"precision": "f32", "scenarios": scenarios})
    assert table.columns == ("stage", "paper: ms", "share", "GMAC/s")
    assert table.rows == [("vgg16", "10.0", "100 %", "250")]
    assert table.notes[-1] == "starter failed: RuntimeError: no"
