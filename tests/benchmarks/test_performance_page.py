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
PAGE = "Prose.\n\n<!-- results: gradcam -->\nold\n<!-- end of results -->\n\nMore prose.\n"


def gradcam(folder: Path, name: str, cost: float) -> None:
    backbone = {"with_ms": 102.0, "without_ms": 100.0, "operations_ms": 100 * cost, "cost": cost}
    backbone |= {"whole_times": [-0.01, 0.04]}
    result = {"machine": MACHINE, "scenario": "paper", "backbones": {"vgg16": backbone}}
    (folder / name).write_text(json.dumps(result))


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
    assert names == {"goals", "machine", *performance_page.REPORTS}


def test_only_what_stands_between_the_marks_is_written(tmp_path: Path) -> None:
    gradcam(tmp_path, "gradcam.json", 0.02)
    page = performance_page.written(PAGE, tmp_path)
    assert page.startswith("Prose.\n\n<!-- results: gradcam -->\n")
    assert page.endswith("<!-- end of results -->\n\nMore prose.\n")
    assert "| vgg16 | 102 | 100 | -1.0% to +4.0% | 2.00 | +2.00% |" in page
    assert "old" not in page


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    gradcam(tmp_path, "gradcam.json", 0.02)
    once = performance_page.written(PAGE, tmp_path)
    assert performance_page.written(once, tmp_path) == once


def test_another_machines_result_stands_beside_the_first(tmp_path: Path) -> None:
    gradcam(tmp_path, "gradcam.json", 0.02)
    gradcam(tmp_path, "gradcam-zen5.json", 0.01)
    page = performance_page.written(PAGE, tmp_path)
    assert page.count("On A processor, 2 cores, 2026-01-02, commit abc.") == 2


def test_what_was_not_measured_says_how_to(tmp_path: Path) -> None:
    assert "Not measured yet: `benchmarks/gradcam.py`" in performance_page.written(PAGE, tmp_path)


def test_a_result_that_no_section_shows_is_an_error(tmp_path: Path) -> None:
    gradcam(tmp_path, "forgotten.json", 0.02)
    with pytest.raises(ValueError, match=r"forgotten\.json has no section"):
        performance_page.written(PAGE, tmp_path)


def test_a_section_of_no_benchmark_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no benchmark is named speed"):
        performance_page.written(PAGE.replace("gradcam", "speed"), tmp_path)


def test_a_result_of_an_unknown_shape_is_shown_plainly(tmp_path: Path) -> None:
    result = {"machine": MACHINE, "findings": [{"film": "a", "kept_ms": 1.25}, {"film": "b"}]}
    (tmp_path / "gradcam.json").write_text(json.dumps(result))
    page = performance_page.written(PAGE, tmp_path)
    assert "**findings**\n\n| film | kept ms |\n|---|---:|\n| a | 1.25 |\n| b | - |" in page


def test_the_goals_judge_bf16_on_every_collection(tmp_path: Path) -> None:
    for name, collection, changed in (("bf16", "covid", 0), ("bf16-tb", "tb", 1)):
        row = {"manifest": collection, "emulated": True, "films": 9, "labels_changed": changed}
        result = {"machine": MACHINE, "rows": [{**row, "largest_difference": 0.005}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    sections = PAGE.replace("gradcam", "goals") + PAGE.replace("gradcam", "bf16")
    (goals, _) = performance_page.written(sections, tmp_path).split("<!-- results: bf16 -->")
    assert "covid: \\|Δp\\|, labels changed | ≤ 0.01, no label | 0.005, 0 of 9 | yes |" in goals
    assert "tb: \\|Δp\\|, labels changed | ≤ 0.01, no label | 0.005, 1 of 9 | **no** |" in goals
