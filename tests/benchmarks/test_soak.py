"""What a soak is judged by."""

from __future__ import annotations

import soak


def test_the_tail_of_a_thousand_films_is_the_last_but_one() -> None:
    latencies = [10.0] * 998 + [25.0, 90.0]
    found = soak.judged(latencies)
    assert (found["p50_ms"], found["p999_ms"], found["tail"]) == (10.0, 25.0, 2.5)


def test_the_tail_of_fewer_films_is_the_slowest() -> None:
    found = soak.judged([10.0] * 99 + [40.0])
    assert (found["p999_ms"], found["tail"]) == (40.0, 4.0)


def test_a_soak_without_an_answer_has_no_tail() -> None:
    assert soak.judged([])["tail"] is None


def test_memory_that_grows_shows_between_early_and_late() -> None:
    found = soak._memory([500.0] * 2 + [600.0] * 2 + [700.0] * 2 + [800.0] * 2 + [900.0] * 2)
    assert (found["memory_early_mb"], found["memory_late_mb"]) == (600.0, 900.0)
