"""The results of stages.py and soak.py → tables."""

from __future__ import annotations

from typing import Any

from tables import NONE, Table, digits, percent

STAGES = (
    "preprocess",
    "segment",
    "resnet34",
    "resnet50",
    "resnet152",
    "vgg16",
    "average",
    "admission",
)


def stages_tables(result: dict[str, Any]) -> list[Table]:
    """For each scenario: its stages, and how cost grows where that was measured."""
    tables: list[Table] = []
    for scenario in result["scenarios"]:
        name = f"{scenario['name']}, {result['precision']}"
        if "failed" in scenario:
            tables.append(Table(name, ("failed",), [(scenario["failed"],)]))
            continue
        tables.append(_stages(name, scenario))
        growth = scenario.get("growth")
        if growth:
            tables += [_by_size(name, growth), _by_inflight(name, growth), _by_number(name, growth)]
    return tables


def _stages(name: str, scenario: dict[str, Any]) -> Table:
    alone, inside = scenario["alone"], scenario["in_ensemble"]
    stages = [stage for stage in STAGES if stage in alone]  # older results have no admission
    total = sum(_busy(alone[stage]) for stage in stages)
    rows = []
    for stage in stages:
        busy, gmac = _busy(alone[stage]), scenario["gmac"].get(stage)
        one, eight = (inside[inflight]["stages"][stage] for inflight in ("1", "8"))
        rows.append(
            (
                stage,
                digits(busy),
                percent(busy / total),
                digits(gmac) if gmac and gmac >= 0.0005 else NONE,
                digits(1e3 * gmac / alone[stage]["infer_ms"]) if gmac and gmac > 0.01 else NONE,
                digits(one["queue_ms"]),
                digits(_busy(one)),
                digits(eight["queue_ms"]),
                digits(_busy(eight)),
                digits(eight["batch"]),
            )
        )
    slowest = max(stages, key=lambda stage: _busy(alone[stage]))
    notes = [
        f"Slowest: {slowest}. All stages by themselves: {digits(total)} ms; a film through the "
        f"ensemble: {digits(_film_ms(inside['1']))} ms alone, {digits(_film_ms(inside['8']))} ms "
        "with eight in flight."
    ]
    columns = ("stage", "by itself, ms", "share", "GMAC", "GMAC/s", "one in flight: queue ms")
    more = ("busy ms, turns waited for", "eight: queue ms", "busy ms a film", "films a batch")
    return Table(f"{name}: stages", (*columns, *more), rows, notes)


def _by_size(name: str, growth: dict[str, Any]) -> Table:
    rows = [
        (
            f"{row['side_px']} px",
            digits(row["megabytes"]),
            digits(row["preprocess_ms"]),
            digits(row["film_ms"]),
        )
        for row in growth["by_size"]
    ]
    columns = ("longer side of the film", "MB sent", "preprocess ms", "whole film ms")
    return Table(f"{name}: cost over the film's size", columns, rows)


def _by_inflight(name: str, growth: dict[str, Any]) -> Table:
    stages = [stage for stage in STAGES if stage in growth["by_inflight"][0]["stages"]]
    rows = [
        (
            str(row["in_flight"]),
            digits(row["films"] / row["wall_s"]),
            digits(row["stages"]["cxr"]["latency_ms"]),
            *(digits(row["stages"][stage]["batch"]) for stage in stages),
        )
        for row in growth["by_inflight"]
    ]
    columns = ("in flight", "films/s", "mean latency ms", *(f"{stage} batch" for stage in stages))
    return Table(f"{name}: films in flight, and the batches that Triton makes", columns, rows)


def _by_number(name: str, growth: dict[str, Any]) -> Table:
    rows = [
        (str(row["films"]), digits(row["wall_s"]), digits(_film_ms(row)))
        for row in growth["by_number"]
    ]
    title = f"{name}: number of films, eight in flight"
    return Table(title, ("films", "s in all", "ms a film"), rows)


def _busy(stage: dict[str, Any]) -> float:
    return stage["input_ms"] + stage["infer_ms"] + stage["output_ms"]


def _film_ms(load: dict[str, Any]) -> float:
    return 1e3 * load["wall_s"] / load["films"]


def soak_table(result: dict[str, Any]) -> Table:
    """One row a soak."""
    rows = []
    for soak in result["soaks"]:
        name = f"{soak['name']}, {soak['precision']}, {soak['in_flight']} in flight"
        if "failed" in soak:
            rows.append((name, soak["failed"], *[NONE] * 8))
            continue
        failures = ", ".join(f"{n} {code}" for code, n in soak["failures"].items()) or "none"
        times = (digits(soak[key]) for key in ("p50_ms", "p99_ms", "p999_ms", "tail"))
        memory = (digits(soak[f"memory_{when}_mb"]) for when in ("start", "early", "late"))
        rows.append((name, str(soak["films"]), digits(soak["wall_s"]), *times, *memory, failures))
    columns = ("", "films", "s", "p50 ms", "p99 ms", "p99.9 ms", "p99.9 over p50")
    more = ("MB at the start", "MB early", "MB late", "failures")
    note = "p99.9 of fewer than a thousand films is the slowest of them."
    return Table("Soak", (*columns, *more), rows, [note])
