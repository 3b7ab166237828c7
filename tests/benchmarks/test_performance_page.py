"""docs/performance.md says what benchmarks/results say, and nothing older."""

from __future__ import annotations

import json
from pathlib import Path

import performance_page
import pytest

MACHINE = {
    "cpu": "A processor",
    "cores": 2,
    "gpus": [],
    "date": "2026-01-02T03:04",
    "commit": "abc",
}
PAGE = "Prose.\n\n<!-- results: soak -->\nold\n<!-- end of results -->\n\nMore prose.\n"


def soak(folder: Path, name: str, tail: float) -> None:
    one = {"name": "paper", "precision": "f32", "in_flight": 4, "films": 9, "wall_s": 600.0}
    one |= dict.fromkeys(("p50_ms", "p99_ms", "p999_ms"), 100.0)
    one |= dict.fromkeys(("memory_start_mb", "memory_early_mb", "memory_late_mb"), 2000.0)
    soaks = [{**one, "tail": tail, "failures": {}}]
    (folder / name).write_text(json.dumps({"machine": MACHINE, "soaks": soaks}))


def test_the_committed_page_is_what_the_committed_results_say() -> None:
    page = performance_page.PAGE.read_text(encoding="utf-8")
    assert performance_page.written(page, performance_page.RESULTS) == page


@pytest.mark.parametrize(
    "path", sorted(performance_page.RESULTS.glob("*.json")), ids=lambda p: p.stem
)
def test_each_committed_result_has_tables_of_its_own(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert performance_page.REPORTS[path.stem.split("-")[0]](result)


def test_the_page_has_a_section_for_every_benchmark() -> None:
    page = performance_page.PAGE.read_text(encoding="utf-8")
    names = {found[2] for found in performance_page.SECTION.finditer(page)}
    assert names == {"goals", *performance_page.FROM_ENSEMBLE, *performance_page.REPORTS}


def test_only_what_stands_between_the_marks_is_written(tmp_path: Path) -> None:
    soak(tmp_path, "soak.json", 1.5)
    page = performance_page.written(PAGE, tmp_path)
    assert page.startswith("Prose.\n\n<!-- results: soak -->\n")
    assert page.endswith("<!-- end of results -->\n\nMore prose.\n")
    assert "| 100 | 100 | 100 | 1.50 | 2000 | 2000 | 2000 | none |" in page
    assert "old" not in page


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    soak(tmp_path, "soak.json", 1.5)
    once = performance_page.written(PAGE, tmp_path)
    assert performance_page.written(once, tmp_path) == once


def test_another_machines_result_stands_beside_the_first(tmp_path: Path) -> None:
    soak(tmp_path, "soak.json", 1.5)
    soak(tmp_path, "soak-zen5.json", 1.2)
    page = performance_page.written(PAGE, tmp_path)
    assert page.count("On A processor, 2 cores, 2026-01-02, commit abc.") == 2


def test_what_was_not_measured_says_how_to(tmp_path: Path) -> None:
    assert "Not measured yet: `benchmarks/soak.py`" in performance_page.written(PAGE, tmp_path)


def test_a_result_that_no_section_shows_is_an_error(tmp_path: Path) -> None:
    soak(tmp_path, "forgotten.json", 1.5)
    with pytest.raises(ValueError, match=r"forgotten\.json has no section"):
        performance_page.written(PAGE, tmp_path)


def test_a_section_of_no_benchmark_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no benchmark is named speed"):
        performance_page.written(PAGE.replace("soak", "speed"), tmp_path)


def test_a_result_of_an_unknown_shape_is_shown_plainly(tmp_path: Path) -> None:
    result = {"machine": MACHINE, "findings": [{"film": "a", "kept_ms": 1.25}, {"film": "b"}]}
    (tmp_path / "soak.json").write_text(json.dumps(result))
    page = performance_page.written(PAGE, tmp_path)
    assert "**findings**\n\n| film | kept ms |\n|---|---:|\n| a | 1.25 |\n| b | - |" in page
