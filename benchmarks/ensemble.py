"""The served ensemble beside its alternatives, in one run, on the same films and the same graphs.

    python benchmarks/ensemble.py [--scenario paper] [--precision f32] [--full] [--output FILE]
    python benchmarks/ensemble.py --alternative openvino --alternative triton --rounds 20 --output …

PyTorch eager (malloc tuned), ONNX Runtime, OpenVINO in a loop without a server,
the Triton ensemble under perf_analyzer, and `cxrclient predict`. They take turns in short chunks,
A B A B, because a machine that others use is not as fast in one minute as in the next; the ratios
are between neighbours in time. What fails says why, and the others go on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import perf_analyzer
import typer
from machine import measure_peaks
from material import (
    BUILD,
    PRECISIONS,
    SCENARIOS,
    Built,
    build,
    computed_in,
    films,
    payloads,
    quantise as quantise_repository,
)
from measuring.alternatives import Alternative, Ensemble, Loop, Predict
from measuring.chunks import Chunk, Key
from measuring.gmac import repository_gmac
from measuring.hardware import describe
from measuring.outcome import outcome, shares
from measuring.record import RESULTS, write_result
from measuring.server import Server
from reports.ensemble import ensemble_tables
from reports.tables import machine_table, print_table
from rich.console import Console

from cxrclient.wire import write_perf_data

MOST_FILMS = 400
PREDICT_JOBS = 4


@dataclass(frozen=True)
class Plan:
    """How much of a scenario is measured.

    Attributes:
        concurrencies: films in flight at Triton.
        rounds: how often everything takes its turn.
        chunk_s: about how long a chunk lasts; never less than `concurrency` films.
        budget_s: after it nothing new begins.
        alternatives: what is measured; empty: all.
    """

    concurrencies: tuple[int, ...]
    rounds: int
    chunk_s: float
    budget_s: float
    alternatives: tuple[str, ...] = ()


ALTERNATIVES = ("eager-tuned", "onnxruntime", "openvino", "triton", "predict")
DEFAULT_PLANS = {
    "starter": Plan((1, 4, 16), 1, 5.0, 90),
    "paper-512": Plan((1, 4, 16), 1, 8.0, 150),
    # Sixteen films of ten seconds would be a quarter of all the time: --in-flight, or --full.
    "paper": Plan((1, 4), 1, 8.0, 260),
}
FULL_PLANS = {
    "starter": Plan((1, 2, 4, 8, 16), 3, 8.0, 700),
    "paper-512": Plan((1, 2, 4, 8, 16), 4, 10.0, 1200),
    "paper": Plan((1, 2, 4, 8, 16), 2, 24.0, 2400),
}


def turns(plan: Plan, precisions: list[str]) -> list[Key]:
    """Who is measured after whom: a bare OpenVINO loop before and after each turn of Triton."""
    order: list[Key] = []
    for _ in range(plan.rounds):
        order += [("eager-tuned", "f32", 1), ("onnxruntime", "f32", 1)]
        for concurrency in plan.concurrencies:
            for precision in precisions:
                order += [("openvino", precision, 1), ("triton", precision, concurrency)]
        order += [("openvino", precision, 1) for precision in precisions]
        order += [("predict", precision, PREDICT_JOBS) for precision in precisions]
    order.append(("eager-tuned", "f32", 1))
    return [key for key in order if key[0] in (plan.alternatives or ALTERNATIVES)]


@dataclass
class Run:
    """One scenario while it is measured."""

    built: Built
    plan: Plan
    precisions: list[str]
    say: Callable[[str], None]
    skipped: list[dict[str, str]] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    ready_s: dict[str, float] = field(default_factory=dict)
    film_s: dict[tuple[str, str], float] = field(default_factory=dict)
    """(alternative, precision) → seconds of a film, as last seen; Triton's is OpenVINO's."""
    expected: dict[int, float] = field(default_factory=dict)
    """Place of a film → its probability in ONNX Runtime."""

    def skip(self, what: str, error: Exception | str) -> None:
        """Note why something was not measured."""
        self.skipped.append({"what": what, "reason": str(error)})
        self.say(f"left out: {what}: {error}")

    def measure(self, saved: Callable[[], None]) -> None:
        """Start everything, then let all take turns; `saved` is called after each chunk."""
        with contextlib.ExitStack() as started:
            alternatives = dict(self._started(started))
            deadline = time.monotonic() + self.plan.budget_s
            for key in turns(self.plan, self.precisions):
                alternative = alternatives.get(key)
                if alternative is None:
                    continue
                number = self._films_of(key)
                if time.monotonic() + number * self._film_s(key) > deadline:
                    self.skip(_words(key), f"no time left of {self.plan.budget_s:.0f} s")
                    continue
                try:
                    chunk = alternative.measure(number)
                except Exception as error:
                    self.skip(_words(key), error)
                    del alternatives[key]
                    continue
                self._take(chunk, alternative)
                saved()

    def _started(self, started: contextlib.ExitStack) -> Iterator[tuple[Key, Alternative]]:
        """Loops first: they give the time of a film that the others are planned with."""
        eager = ["eager", "--recipe", str(self.built.recipe)]
        loops = [("onnxruntime", ["onnxruntime"], "f32"), ("eager-tuned", eager, "f32")]
        loops += [("openvino", ["openvino"], precision) for precision in self.precisions]
        for name, engine, precision in loops:
            key = (name, precision, 1)
            # ONNX Runtime says what the probabilities should be.
            if name not in (*(self.plan.alternatives or ALTERNATIVES), "onnxruntime"):
                continue
            try:
                loop = Loop(name, engine, self.built, precision)
                started.callback(loop.close)
                first = loop.measure(1)  # the first film pays for what the others find ready
            except Exception as error:
                self.skip(_words(key), error)
                continue
            self.film_s[name, precision] = first.wall_s
            self._take_probabilities(first, loop)
            self.say(f"{_words(key)} is ready: {first.wall_s:.2f} s for its first film")
            yield key, loop
        for precision in self.precisions:
            yield from self._served(started, precision)

    def _served(
        self, started: contextlib.ExitStack, precision: str
    ) -> Iterator[tuple[Key, Alternative]]:
        try:
            server = Server(self.built.repository, precision)
            started.callback(server.close)
            predict = Predict(server, films(), PREDICT_JOBS)
            predict.measure(1)  # as the loops' first film
        except Exception as error:
            self.skip(f"triton {precision}", error)
            return
        self.ready_s[precision] = server.ready_s
        self.say(f"triton {precision} is ready after {server.ready_s:.1f} s")
        yield ("predict", precision, PREDICT_JOBS), predict
        try:
            analyzer = perf_analyzer.find()
        except perf_analyzer.PerfAnalyzerUnavailableError as error:
            self.skip(f"triton {precision} under perf_analyzer", error)
            return
        data = BUILD / "films.json"
        with data.open("wb") as file:
            write_perf_data(file, ([film] for film in payloads()))
        for concurrency in self.plan.concurrencies:
            ensemble = Ensemble(server, analyzer, data, concurrency)
            yield ("triton", precision, concurrency), ensemble

    def _film_s(self, key: Key) -> float:
        name, precision, _ = key
        return self.film_s.get((name, precision)) or self.film_s.get(("openvino", precision), 1.0)

    def _films_of(self, key: Key) -> int:
        number = round(self.plan.chunk_s / self._film_s(key))
        # Of what is judged by its ratio at least two: one alone says too little on a busy machine.
        least = 2 if key[0] in ("openvino", "triton") else 1
        return max(key[2], least, min(number, MOST_FILMS))

    def _take(self, chunk: Chunk, alternative: Alternative) -> None:
        if chunk.alternative not in ("triton", "predict"):
            self.film_s[chunk.alternative, chunk.precision] = chunk.wall_s / chunk.films
        self.chunks.append(self._take_probabilities(chunk, alternative))
        self.say(f"{_words(chunk.key)}: {chunk.films} films, {chunk.films_s:.3g} films/s")

    def _take_probabilities(self, chunk: Chunk, alternative: Alternative) -> Chunk:
        """Compare with ONNX Runtime's: all alternatives must have done the same work."""
        films = len(payloads())
        said = enumerate(getattr(alternative, "probabilities", []))
        given = {place % films: probability for place, probability in said}
        if chunk.alternative == "onnxruntime":
            self.expected |= given
        known = given.keys() & self.expected.keys()
        differences = [abs(given[place] - self.expected[place]) for place in known]
        return replace(chunk, difference=max(differences, default=None))


def _words(key: Key) -> str:
    name, precision, concurrency = key
    return f"{name} {precision}" + f", {concurrency} in flight" * (name in ("triton", "predict"))


def _gmac_by_precision(built: Built, gmac: dict[str, float], precision: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for graph, amount in gmac.items():
        used = computed_in(built.repository, graph, precision)
        total[used] = total.get(used, 0.0) + amount
    return total


def able_precisions(wanted: list[str] | None, peaks: dict[str, dict[str, Any]]) -> list[str]:
    """Those asked for, else all that the processor has kernels for."""
    return wanted or [name for name in PRECISIONS if peaks[name]["gmac_s"] is not None]


def main(
    scenario: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCENARIOS)}.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="f32, bf16, int8.")] = None,
    in_flight: Annotated[list[int] | None, typer.Option(help="1, 4, 16: at Triton.")] = None,
    budget_s: Annotated[float | None, typer.Option(help="Of each scenario, once started.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Turns of everything.")] = None,
    alternative: Annotated[list[str] | None, typer.Option(help=", ".join(ALTERNATIVES))] = None,
    full: Annotated[bool, typer.Option("--full", help="All concurrencies, more films.")] = False,
    brief: Annotated[bool, typer.Option("--brief", help="A smoke run: a few films.")] = False,
    output: Annotated[Path, typer.Option(help="Result, JSON.")] = RESULTS / "ensemble.json",
) -> None:
    """Measure, print, write; each scenario by itself."""
    console, talk = Console(width=140), Console(stderr=True, highlight=False)
    peaks = measure_peaks(0.1 if brief else 0.5)
    result: dict[str, Any] = {
        "benchmark": "ensemble",
        "machine": describe(),
        "peaks": peaks,
        "films": "1 real of 1955x1841 px, 3 drawn of 2048 px a side or less, uncompressed DICOM",
        "complete": False,
        "scenarios": [],
    }
    for name in scenario or list(SCENARIOS):
        plan = (FULL_PLANS if full else DEFAULT_PLANS)[name]
        plan = replace(plan, concurrencies=(1, 4), rounds=1, chunk_s=0.5) if brief else plan
        plan = replace(
            plan,
            concurrencies=tuple(in_flight or plan.concurrencies),
            budget_s=budget_s or plan.budget_s,
            rounds=rounds or plan.rounds,
            alternatives=tuple(alternative or ()),
        )
        talk.print(f"{name}: building, where it is not there ...")
        _measure(name, plan, precision, result, output, talk)
    for name, peak in measure_peaks(0.1 if brief else 0.5).items():
        # A noisy machine's peak is the best that was seen, before or after.
        if peak["gmac_s"] is not None and peak["gmac_s"] > peaks[name]["gmac_s"]:
            peaks[name] = peak
    for entry in result["scenarios"]:
        if "failed" not in entry:
            entry["shares"] = shares(entry, peaks)
    write_result(output, {**result, "complete": True})
    for table in [machine_table(result), *ensemble_tables(result)]:
        print_table(console, table)


def _measure(
    name: str,
    plan: Plan,
    wanted: list[str] | None,
    result: dict[str, Any],
    output: Path,
    talk: Console,
) -> None:
    """Measure one scenario into the result, written after every chunk."""
    others = list(result["scenarios"])
    try:
        built = build(SCENARIOS[name])
        run = Run(built, plan, able_precisions(wanted, result["peaks"]), talk.print)
        if "int8" in run.precisions:
            try:
                quantise_repository(built)
            except Exception as error:
                run.skip("int8", error)
                run.precisions.remove("int8")
        gmac = repository_gmac(built.repository)
        by_precision = {each: _gmac_by_precision(built, gmac, each) for each in run.precisions}

        def save() -> None:
            facts = {"name": name, "gmac": gmac, "gmac_by_precision": by_precision}
            facts |= {"ready_s": run.ready_s, "skipped": run.skipped}
            result["scenarios"] = [*others, outcome(facts, run.chunks, result["peaks"])]
            write_result(output, result)

        run.measure(save)
        save()
    except Exception as error:
        failed = {"name": name, "failed": f"{type(error).__name__}: {error}"}
        result["scenarios"] = [*others, failed]
        talk.print(f"{name} failed: {error}", style="red", markup=False)


if __name__ == "__main__":
    typer.run(main)
