"""The preprocessing's benchmark: whose time is whose."""

from __future__ import annotations

import pytest
from measuring.preprocessing_stages import _Watch
from preprocessing import summary


def test_a_summary_is_in_milliseconds() -> None:
    found = summary([(0.001, 0.002), (0.003, 0.004), (0.002, 0.009)])
    assert found["median_ms"] == pytest.approx(2.0)
    assert found["shortest_ms"] == pytest.approx(1.0)
    assert found["cpu_ms"] == pytest.approx(4.0)


def test_a_stage_does_not_count_the_stages_that_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]  # a clock that only the stages turn
    monkeypatch.setattr("measuring.preprocessing_stages.time.perf_counter", lambda: now[0])
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
