"""Asked and measured: what is met, what is not, and what could not be asked of this machine."""

from __future__ import annotations

from typing import Any

import pytest
from reports.goals import goals_table
from reports.preprocessing import DRAWN, REAL

VNNI = {"gmac_s": 900.0, "instructions": "AVX512-VNNI", "reason": None}
AVX2 = {"gmac_s": 250.0, "instructions": "AVX2 without VNNI: three for one", "reason": None}
NO_BF16 = {"gmac_s": None, "instructions": None, "reason": "no AVX512-BF16 or AMX"}


def ensemble(**more: Any) -> dict[str, Any]:
    over = {"openvino": 0.97, "onnxruntime": 1.0, "eager_tuned": 5.0}
    row = {"alternative": "triton", "precision": "int8", "concurrency": 1, "over": over}
    share = {"alternative": "openvino", "precision": "int8", "concurrency": 1}
    scenario = {
        "name": "paper",
        "ratios": [row],
        "shares": [{**share, "whole": 0.8, "graphs": 0.85}],
    }
    peaks = {"bf16": NO_BF16, "int8": VNNI}
    return {"ensemble": {"peaks": peaks, "scenarios": [scenario | more]}}


def cells(results: dict[str, Any], asked: str) -> list[tuple[str, str]]:
    rows = goals_table(results).rows
    return [(measured, met) for name, _, measured, met in rows if asked in name]


def test_what_reaches_its_bar_is_met() -> None:
    assert cells(ensemble(), "convolution peak, paper, int8") == [("85 %", "yes")]
    assert cells(ensemble(), "OpenVINO loop, paper, int8") == [("0.970 at 1", "yes")]
    assert cells(ensemble(), "tuned malloc, paper, int8") == [("5.00 to 5.00", "yes")]


def test_one_concurrency_below_the_bar_is_enough_to_miss_it() -> None:
    over = {"openvino": 0.90, "onnxruntime": 1.0, "eager_tuned": 4.0}
    row = {"alternative": "triton", "precision": "int8", "concurrency": 16, "over": over}
    ratios = ensemble()["ensemble"]["scenarios"][0]["ratios"]
    results = ensemble(ratios=[*ratios, row])
    assert cells(results, "OpenVINO loop, paper, int8") == [("0.970 at 1, 0.900 at 16", "**no**")]
    assert cells(results, "tuned malloc, paper, int8")[0][1] == "**no**"


def test_a_precision_that_the_processor_lacks_is_skipped_with_the_reason() -> None:
    assert cells(ensemble(), "convolution peak, paper, bf16") == [
        ("skipped: no AVX512-BF16 or AMX", "-")
    ]


def test_int8_without_its_instructions_is_told_but_not_judged() -> None:
    results = ensemble()
    results["ensemble"]["peaks"]["int8"] = AVX2
    assert cells(results, "convolution peak, paper, int8") == [
        ("85 %; skipped: AVX2 without VNNI: three for one", "-")
    ]


def test_nothing_measured_meets_nothing() -> None:
    assert {met for *_, met in goals_table({}).rows} == {"-"}


@pytest.mark.parametrize(("tail", "met"), [(2.9, "yes"), (3.1, "**no**")])
def test_a_soak_is_judged_by_its_tail(tail: float, met: str) -> None:
    soak = {"name": "paper-512", "in_flight": 4, "films": 1200, "wall_s": 600.0, "tail": tail}
    ((measured, is_met),) = cells({"soak": {"soaks": [soak]}}, "in a soak of 10 min, paper-512")
    assert (measured, is_met) == (f"{tail:.2f} (1200 films, 4 in flight)", met)


def test_preprocessing_is_judged_on_all_cores_film_by_film() -> None:
    films = [
        {"film": film, "threads": threads, "median_ms": 4 * ms / threads}
        for film, ms in ((REAL, 4.0), (DRAWN, 6.1))
        for threads in (1, 2)
    ]
    found = cells({"preprocessing": {"films": films}}, "preprocessing")
    assert found == [("8.00 ms", "yes"), ("12.2 ms", "**no**")]


def test_memory_is_judged_at_every_number_of_films_in_flight_and_the_slowest_start_counts() -> None:
    row = {"scenario": "paper", "precision": "f32"}
    rows = [
        {**row, "concurrency": 4, "peak_mb": 2900.0, "ready_s": 17.0},
        {**row, "concurrency": 16, "peak_mb": 3100.0, "ready_s": 31.0},
    ]
    found = {"footprint": {"rows": rows}}
    assert cells(found, "server's memory, paper, f32, 4 in flight") == [("2900 MB", "yes")]
    assert cells(found, "server's memory, paper, f32, 16 in flight") == [("3100 MB", "**no**")]
    assert cells(found, "start to ready, paper") == [("31.0 s", "**no**")]
