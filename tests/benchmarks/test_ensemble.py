"""The run of ensemble.py: who takes turns with whom, and what happens when something fails."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ensemble
import pytest
from material import SCENARIOS, Built
from measuring.alternatives import TUNED_MALLOC, Loop
from measuring.chunks import Chunk

PLAN = ensemble.Plan((1, 4, 16), rounds=2, chunk_s=2.0, budget_s=60.0)
NOWHERE = Built(SCENARIOS["starter"], Path("nowhere"), Path("nowhere"))


class Told:
    """An alternative that takes a given time a film; stands for processes that take minutes."""

    def __init__(self, key: ensemble.Key, film_s: float, fails: bool = False) -> None:
        self.key, self.film_s, self.fails, self.asked = key, film_s, fails, []

    def measure(self, films: int) -> Chunk:
        self.asked.append(films)
        if self.fails:
            raise RuntimeError("no films today")
        return Chunk(*self.key, films=films, wall_s=films * self.film_s, p50_ms=1.0)

    def close(self) -> None: ...


def run_of(*told: Told, plan: ensemble.Plan = PLAN) -> ensemble.Run:
    class Measured(ensemble.Run):
        def _started(self, started):
            for one in told:
                if one.key[0] not in ("triton", "predict"):
                    self.film_s[one.key[:2]] = one.film_s
                yield one.key, one

    run = Measured(NOWHERE, plan, ["f32"], say=lambda words: None)
    run.measure(saved=lambda: None)
    return run


def test_every_turn_of_triton_stands_between_loops_of_its_own_precision() -> None:
    order = ensemble.turns(PLAN, ["f32", "int8"])
    places = [place for place, key in enumerate(order) if key[0] == "triton"]
    assert len(places) == 2 * 3 * 2
    for place in places:
        loop = ("openvino", order[place][1], 1)
        assert order[place - 1] == loop
        assert loop in order[place + 1 : place + 5]


def test_the_tuned_loop_stands_before_the_first_and_after_the_last() -> None:
    order = ensemble.turns(PLAN, ["f32"])
    assert order[0] == order[-1] == ("eager-tuned", "f32", 1)


def test_only_what_is_asked_for_takes_turns() -> None:
    plan = replace(PLAN, alternatives=("openvino", "triton"))
    order = ensemble.turns(plan, ["f32"])
    assert order == [key for key in ensemble.turns(PLAN, ["f32"]) if key[0] in plan.alternatives]
    assert {key[0] for key in order} == {"openvino", "triton"}


def test_a_chunk_lasts_as_planned_but_holds_all_films_in_flight() -> None:
    loop, served = Told(("openvino", "f32", 1), 0.5), Told(("triton", "f32", 16), 0.5)
    run_of(loop, served)
    assert (set(loop.asked), set(served.asked)) == ({4}, {16})


def test_what_is_judged_by_its_ratio_is_never_judged_by_one_film() -> None:
    loop, eager = Told(("openvino", "f32", 1), 9.0), Told(("eager-tuned", "f32", 1), 9.0)
    run_of(loop, eager, plan=ensemble.Plan((1,), rounds=1, chunk_s=1.0, budget_s=60.0))
    assert (set(loop.asked), set(eager.asked)) == ({2}, {1})


def test_what_fails_says_why_once_and_the_others_go_on() -> None:
    loop = Told(("openvino", "f32", 1), 0.5)
    run = run_of(loop, Told(("triton", "f32", 4), 0.5, fails=True))
    assert run.skipped == [{"what": "triton f32, 4 in flight", "reason": "no films today"}]
    assert {chunk.key for chunk in run.chunks} == {loop.key}


def test_nothing_begins_that_would_end_after_the_budget() -> None:
    plan = ensemble.Plan((1,), rounds=1, chunk_s=2.0, budget_s=1.0)
    loop = Told(("openvino", "f32", 1), 0.5)
    run = run_of(loop, plan=plan)
    assert loop.asked == []
    assert {skip["reason"] for skip in run.skipped} == {"no time left of 1 s"}


def test_a_loop_that_cannot_start_is_an_error_that_names_it() -> None:
    with pytest.raises(RuntimeError, match="the loop openvino ended with 1"):
        Loop("openvino", ["openvino"], NOWHERE)


def test_only_the_tuned_loop_has_malloc_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Recorded(subprocess.Popen):
        def __init__(self, command, *, env, **more):
            seen.append(env)
            hello = "print('{\"ready_s\": 0}'); input()"
            super().__init__([sys.executable, "-c", hello], env=env, **more)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    monkeypatch.setenv("MALLOC_TOP_PAD_", "7")
    for name in ("onnxruntime", "eager-tuned"):
        loop = Loop(name, [name], NOWHERE)
        loop._process.communicate("\n")
    assert [TUNED_MALLOC.items() <= env.items() for env in seen] == [False, True]
    assert "MALLOC_TOP_PAD_" not in seen[0]


@pytest.mark.slow
def test_a_smoke_run_measures_every_alternative_on_the_same_work(tmp_path: Path) -> None:
    script = Path(ensemble.__file__)
    path = tmp_path / "ensemble.json"
    options = ["--scenario", "starter", "--brief", "--precision", "f32", "--output", str(path)]
    subprocess.run([sys.executable, str(script), *options], check=True)
    result = json.loads(path.read_text())
    (scenario,) = result["scenarios"]
    assert result["complete"]
    assert scenario["skipped"] == []
    rows = {row["alternative"]: row for row in scenario["measurements"]}
    assert set(rows) == {"eager-tuned", "onnxruntime", "openvino", "triton", "predict"}
    assert all(row["films_s"] > 0 and row["peak_mb"] > 100 for row in rows.values())
    # eager's weights are not rounded to fp16, the graphs' are.
    assert max(row["difference"] or 0.0 for row in rows.values()) < 1e-2
