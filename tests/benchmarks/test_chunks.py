"""Percentiles, rows, ratios between neighbours in time, and shares of the peak: by hand."""

from __future__ import annotations

import pytest
from measuring.chunks import Chunk, interleaved_ratio, percentile, share_of_peak, summaries


def chunk(name: str, films: int, wall_s: float, **more: object) -> Chunk:
    facts = {"precision": "f32", "concurrency": 1, "p50_ms": 1e3 * wall_s / films}
    return Chunk(alternative=name, films=films, wall_s=wall_s, **(facts | more))


def test_a_percentile_is_a_measured_value_by_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]


def test_the_order_of_values_does_not_change_a_percentile() -> None:
    assert percentile([3.0, 1.0, 4.0, 2.0], 0.5) == 2.0


@pytest.mark.parametrize(("films", "share"), [(99, 0.99), (19, 0.95), (999, 0.999)])
def test_a_percentile_that_no_film_lies_beyond_is_none(films: int, share: float) -> None:
    assert percentile([1.0] * films, share) is None
    assert percentile([1.0] * (films + 1), share) == 1.0


def test_films_a_second_of_a_row_are_all_films_over_all_time() -> None:
    (row,) = summaries([chunk("openvino", 1, 1.0), chunk("openvino", 3, 1.0)])
    assert (row["films"], row["films_s"]) == (4, 2.0)


def test_a_row_takes_medians_of_percentiles_sums_of_time_and_the_highest_memory() -> None:
    chunks = [
        chunk("triton", 2, 1.0, p50_ms=p50, cpu_s=cpu_s, peak_mb=mb)
        for p50, cpu_s, mb in ((10.0, 1.0, 100.0), (30.0, 2.0, 300.0), (20.0, 3.0, 200.0))
    ]
    (row,) = summaries(chunks)
    assert (row["p50_ms"], row["cpu_s_per_film"], row["peak_mb"]) == (20.0, 1.0, 300.0)


def test_alternatives_precisions_and_concurrencies_are_rows_of_their_own() -> None:
    chunks = [
        chunk("triton", 1, 1.0),
        chunk("triton", 1, 1.0, concurrency=4),
        chunk("triton", 1, 1.0, precision="int8"),
        chunk("triton", 1, 1.0),
    ]
    assert [row["films"] for row in summaries(chunks)] == [2, 1, 1]


def test_a_machine_that_slows_down_by_half_does_not_change_a_ratio() -> None:
    loop, served = ("openvino", "f32", 1), ("triton", "f32", 1)
    chunks = [
        chunk("openvino", 10, 1.0),
        chunk("triton", 9, 1.0),
        chunk("openvino", 10, 1.0),
        chunk("openvino", 10, 2.0),
        chunk("triton", 9, 2.0),
        chunk("openvino", 10, 2.0),
    ]
    assert interleaved_ratio(chunks, served, loop) == pytest.approx(0.9)


def test_a_ratio_takes_the_mean_of_the_neighbours_before_and_after() -> None:
    chunks = [chunk("openvino", 8, 1.0), chunk("triton", 9, 1.0), chunk("openvino", 10, 1.0)]
    assert interleaved_ratio(chunks, ("triton", "f32", 1), ("openvino", "f32", 1)) == 1.0


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    chunks = [chunk("triton", 9, 1.0)]
    assert interleaved_ratio(chunks, ("triton", "f32", 1), ("eager", "f32", 1)) is None


def test_the_share_of_the_peak_weighs_each_graph_by_its_own_precision() -> None:
    # 100 GMAC at a peak of 100 and 400 at 1000 would take 1.4 s; the film took 2 s.
    gmac, peak = {"f32": 100.0, "int8": 400.0}, {"f32": 100.0, "int8": 1000.0}
    assert share_of_peak(gmac, peak, 2.0) == pytest.approx(0.7)


def test_there_is_no_share_of_a_peak_that_the_machine_does_not_have() -> None:
    assert share_of_peak({"bf16": 100.0}, {"f32": 100.0, "bf16": None}, 1.0) is None
