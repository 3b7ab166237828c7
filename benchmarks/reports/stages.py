"""The results of stages.py, soak.py and footprint.py → tables."""

from __future__ import annotations

from typing import Any

from reports.tables import NONE, Table, digits, percent

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
            tables += [_by_size(name, growth), _by_inflight(name, growth)]
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
                digits(1e3 * gmac / alone[stage]["infer_ms"]) if gmac and gmac > 0.01 else NONE,
                digits(one["queue_ms"]),
                digits(_busy(one)),
                digits(eight["queue_ms"]),
                digits(_busy(eight)),
            )
        )
    slowest = max(stages, key=lambda stage: _busy(alone[stage]))
    notes = [
        f"Slowest: {slowest}. All stages by themselves: {digits(total)} ms; a film through the "
        f"ensemble: {digits(_film_ms(inside['1']))} ms alone, {digits(_film_ms(inside['8']))} ms "
        "with eight in flight."
    ]
    columns = ("stage", "by itself, ms", "share", "GMAC/s", "one in flight: queue ms")
    more = ("busy ms, turns waited for", "eight: queue ms", "busy ms a film")
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
    rows = [
        (
            str(row["in_flight"]),
            digits(row["films"] / row["wall_s"]),
            digits(row["stages"]["cxr"]["latency_ms"]),
        )
        for row in growth["by_inflight"]
    ]
    return Table(f"{name}: films in flight", ("in flight", "films/s", "mean latency ms"), rows)


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


def footprint_table(result: dict[str, Any]) -> Table:
    """Memory and start of a server."""
    rows = [
        (
            f"{row['scenario']}, {row['precision']}",
            digits(row["ready_s"]),
            digits(row["ready_mb"]),
            digits(row["peak_mb"]),
            f"{row['films']} films, {row['concurrency']} in flight",
            ", ".join(f"{name} {mb:.0f}" for name, mb in sorted(row["by_model_mb"].items())),
        )
        for row in result["rows"]
    ]
    columns = ("", "ready after s", "MB when ready", "peak MB", "of", "MB by process, after")
    return Table("The server's memory (PSS) and start", columns, rows)
