"""What the project asked of its speed, and what was measured: one table. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.archive import (
    LEAST_ADDED_S,
    LEAST_RECALL,
    MOST_EMBEDDED_P50_MS,
    MOST_EMBEDDED_P99_MS,
    MOST_SERVER_P50_MS,
)
from reports.client import COUNTED, MOST_CPU_MS, MOST_GROWTH, MOST_MEMORY_MB
from reports.preprocessing import DRAWN, REAL
from reports.tables import NONE, Table, digits, percent

Results = dict[str, dict[str, Any]]
Row = tuple[str, str, str, str]

LEAST_SHARE = {"bf16": 0.90, "int8": 0.80}
LEAST_OF_LOOP = 0.95
LEAST_OVER_EAGER = {"bf16": 2.5, "int8": 4.5}
MOST_TAIL = 3.0
MOST_PREPROCESSING_MS = {REAL: 8.0, DRAWN: 12.0}
MOST_SERVER_MB = 3000.0
MOST_READY_S = 30.0


def goals_table(results: Results) -> Table:
    """Asked, measured, met; a goal that was not measured says why.

    Args:
        results: name of the benchmark → its result, of one machine.
    """
    rows: list[Row] = []
    scenarios = {
        scenario["name"]: scenario
        for scenario in results.get("ensemble", {}).get("scenarios", [])
        if "failed" not in scenario
    }
    peaks = results.get("ensemble", {}).get("peaks", {})
    for precision, least in LEAST_SHARE.items():
        rows.append(_share(scenarios.get("paper"), peaks, precision, least))
    for name in ("paper", "paper-512"):
        rows += _of_loop(name, scenarios.get(name))
    for precision, least in LEAST_OVER_EAGER.items():
        rows.append(_over_eager(scenarios.get("paper"), peaks, precision, least))
    rows += _soaks(results.get("soak"))
    rows += _preprocessing(results.get("preprocessing"))
    rows += _footprint(results.get("footprint"))
    rows += _client(results.get("client"))
    rows += _archive(results.get("archive"))
    return Table("Asked and measured", ("asked", "bar", "measured", "met"), rows)


def _share(scenario: Any, peaks: dict[str, Any], precision: str, least: float) -> Row:
    asked, bar = f"share of the convolution peak, paper, {precision}", f"≥ {percent(least)}"
    reason = _not_applicable(peaks, precision)
    found = [
        row["graphs"]
        for row in (scenario or {}).get("shares", [])
        if (row["alternative"], row["precision"]) == ("openvino", precision) and row["graphs"]
    ]
    if not found:
        return asked, bar, reason or "not measured", NONE
    measured = percent(found[0])
    if reason is not None:
        return asked, bar, f"{measured}; {reason}", NONE
    return asked, bar, measured, _met(found[0] >= least)


def _not_applicable(peaks: dict[str, Any], precision: str) -> str | None:
    """Why the bars of a precision do not hold on this processor; None where they do."""
    peak = peaks.get(precision)
    if peak is None:
        return "not measured"
    if peak["gmac_s"] is None:
        return f"skipped: {peak['reason']}"
    if "without" in (peak["instructions"] or "without"):
        return f"skipped: {peak['instructions']}"
    return None


def _of_loop(name: str, scenario: Any) -> Iterator[Row]:
    bar = f"≥ {LEAST_OF_LOOP}"
    ratios: dict[str, dict[int, float]] = {}
    for row in (scenario or {}).get("ratios", []):
        ratio = row["over"]["openvino"]
        if row["alternative"] == "triton" and ratio is not None:
            ratios.setdefault(row["precision"], {})[row["concurrency"]] = ratio
    if not ratios:
        yield f"Triton over the OpenVINO loop, {name}", bar, "not measured", NONE
    for precision, found in ratios.items():
        words = ", ".join(f"{ratio:.3f} at {inflight}" for inflight, ratio in found.items())
        asked = f"Triton over the OpenVINO loop, {name}, {precision}"
        yield asked, bar, words, _met(min(found.values()) >= LEAST_OF_LOOP)


def _over_eager(scenario: Any, peaks: dict[str, Any], precision: str, least: float) -> Row:
    asked = f"Triton over PyTorch eager f32 with tuned malloc, paper, {precision}"
    bar, reason = f"≥ {least}", _not_applicable(peaks, precision)
    found = [
        row["over"]
        for row in (scenario or {}).get("ratios", [])
        if (row["alternative"], row["precision"]) == ("triton", precision)
        and row["over"]["eager_tuned"] is not None
    ]
    if not found:
        return asked, bar, reason or "not measured", NONE
    tuned = [over["eager_tuned"] for over in found]
    words = f"{digits(min(tuned))} to {digits(max(tuned))}"
    if reason is not None:
        return asked, bar, f"{words}; {reason}", NONE
    return asked, bar, words, _met(min(tuned) >= least)


def _soaks(result: Any) -> Iterator[Row]:
    bar = f"≤ {MOST_TAIL:g}"
    soaks = [soak for soak in (result or {}).get("soaks", []) if soak.get("tail") is not None]
    if not soaks:
        yield "p99.9 over the median in a soak", bar, "not measured", NONE
    for soak in soaks:
        asked = f"p99.9 over the median in a soak of {soak['wall_s'] / 60:.0f} min, {soak['name']}"
        words = f"{digits(soak['tail'])} ({soak['films']} films, {soak['in_flight']} in flight)"
        yield asked, bar, words, _met(soak["tail"] <= MOST_TAIL)


def _preprocessing(result: Any) -> Iterator[Row]:
    """With OpenCV's own threads, as a server runs it."""
    films = (result or {}).get("films", [])
    most = max((row["threads"] for row in films), default=None)
    median_ms = {row["film"]: row["median_ms"] for row in films if row["threads"] == most}
    for film, limit_ms in MOST_PREPROCESSING_MS.items():
        asked, bar = f"preprocessing, {film}: median", f"≤ {limit_ms:g} ms"
        if film not in median_ms:
            yield asked, bar, "not measured", NONE
        else:
            yield asked, bar, f"{digits(median_ms[film])} ms", _met(median_ms[film] <= limit_ms)


def _footprint(result: Any) -> Iterator[Row]:
    rows = [row for row in (result or {}).get("rows", []) if row["scenario"] == "paper"]
    if not rows:
        yield "server's memory, paper", f"≤ {MOST_SERVER_MB:.0f} MB", "not measured", NONE
        yield "server from start to ready, paper", f"≤ {MOST_READY_S:.0f} s", "not measured", NONE
    for row in rows:
        asked = f"server's memory, paper, {row['precision']}, {row['concurrency']} in flight"
        words = f"{row['peak_mb']:.0f} MB"
        met = _met(row["peak_mb"] <= MOST_SERVER_MB)
        yield asked, f"≤ {MOST_SERVER_MB:.0f} MB", words, met
    if rows:
        ready_s = max(row["ready_s"] for row in rows)
        asked = f"start to ready, paper, {rows[0]['precision']}"
        yield asked, f"≤ {MOST_READY_S:.0f} s", f"{ready_s:.1f} s", _met(ready_s <= MOST_READY_S)


def _met(is_met: bool) -> str:
    return "yes" if is_met else "**no**"


def _client(result: Any) -> Iterator[Row]:
    if result is None:
        yield "client work on a film", f"≤ {MOST_CPU_MS:g} ms", "not measured", NONE
        return
    cpu_ms = sum(result["parts_cpu_ms"][part] for part in COUNTED)
    asked = "client work on a film (read, strip, send), CPU"
    yield asked, f"≤ {MOST_CPU_MS:g} ms", f"{digits(cpu_ms)} ms", _met(cpu_ms <= MOST_CPU_MS)
    for command, (short, long) in result["runs"].items():
        growth = long["peak_mb"] / short["peak_mb"] - 1
        asked = f"`cxrclient {command}`, {long['films']:,} films: memory, over {short['films']:,}"
        bar = f"≤ {MOST_MEMORY_MB:g} MB, ≤ {percent(MOST_GROWTH)}"
        is_met = long["peak_mb"] <= MOST_MEMORY_MB and growth <= MOST_GROWTH
        yield asked, bar, f"{digits(long['peak_mb'])} MB, {growth:+.1%}", _met(is_met)


def _archive(result: Any) -> Iterator[Row]:
    if result is None:
        yield "search and filling of an archive", "see below", "not measured", NONE
        return
    last = result["embedded"][-1]
    asked = f"archive in a file, {last['films']:,} films: search p50, p99; added a second"
    bar = f"≤ {MOST_EMBEDDED_P50_MS:g} ms, ≤ {MOST_EMBEDDED_P99_MS:g} ms, ≥ 2,000"
    words = f"{digits(last['p50_ms'])} ms, {digits(last['p99_ms'])} ms, {last['added_s']:,.0f}"
    is_met = (
        last["p50_ms"] <= MOST_EMBEDDED_P50_MS
        and last["p99_ms"] <= MOST_EMBEDDED_P99_MS
        and last["added_s"] >= LEAST_ADDED_S
    )
    yield asked, bar, words, _met(is_met)
    bar = f"≤ {MOST_SERVER_P50_MS:g} ms, ≥ {LEAST_RECALL}"
    if isinstance(result["server"], dict):
        yield "archive on a Milvus server", bar, result["server"]["missing"], NONE
        return
    last = result["server"][-1]
    asked = f"archive on a Milvus server, {last['films']:,} films: search p50, recall@10"
    words = f"{digits(last['p50_ms'])} ms, {last['recall_at_10']:.4f}"
    is_met = last["p50_ms"] <= MOST_SERVER_P50_MS and last["recall_at_10"] >= LEAST_RECALL
    yield asked, bar, words, _met(is_met)
