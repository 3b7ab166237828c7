"""The result of ensemble.py → tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.tables import Table, digits, percent

NAMES = {
    "eager-tuned": "PyTorch eager, malloc tuned",
    "onnxruntime": "ONNX Runtime loop",
    "openvino": "OpenVINO loop, no server",
    "triton": "Triton ensemble",
    "predict": "`cxrclient predict`",
}


def ensemble_tables(result: dict[str, Any]) -> list[Table]:
    """What was measured of each scenario, with its ratios within the run."""
    rows, facts, notes = [], [], []
    for scenario in result["scenarios"]:
        if "failed" in scenario:
            notes.append(f"{scenario['name']} failed: {scenario['failed']}")
            continue
        rows += _measured(scenario)
        facts.append(f"{scenario['name']}: {_facts(scenario)}")
        notes += _skips(scenario)
    columns = ("", "in flight", "films", "films/s", "p50 ms", "p95 ms", "CPU s a film", "peak MB")
    more = ("share of peak", "÷ OpenVINO loop", "÷ eager, tuned")
    return [
        Table(
            "The same films and graphs, in turns",
            (*columns, *more),
            rows,
            [" ".join(facts), *notes],
        )
    ]


def served_table(result: dict[str, Any]) -> Table:
    """What Triton reaches, a row a scenario and precision: what is asked first."""
    rows = []
    for scenario in result["scenarios"]:
        served = [row for row in scenario.get("measurements", ()) if row["alternative"] == "triton"]
        for precision in dict.fromkeys(row["precision"] for row in served):
            chosen = [row for row in served if row["precision"] == precision]
            alone_ms = [row["p50_ms"] for row in chosen if row["concurrency"] == 1]
            best = max(chosen, key=lambda row: row["films_s"])
            rows.append(
                (
                    f"{scenario['name']}, {precision}",
                    digits(best["films_s"]),
                    str(best["concurrency"]),
                    digits(next(iter(alone_ms), None)),
                    digits(best["cpu_s_per_film"]),
                    digits(max(row["peak_mb"] for row in chosen)),
                    digits(scenario["ready_s"].get(precision)),
                )
            )
    columns = ("networks", "films/s at best", "films in flight then", "ms for a film alone")
    more = ("CPU s a film", "server's peak MB", "start, s")
    return Table("Served by Triton", (*columns, *more), rows)


def _measured(scenario: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    shares = {_key(row): row for row in scenario["shares"]}
    ratios = {_key(row): row["over"] for row in scenario["ratios"]}
    for row in scenario["measurements"]:
        over = ratios.get(_key(row), {})
        yield (
            f"{scenario['name']}: {NAMES[row['alternative']]}, {row['precision']}",
            str(row["concurrency"]),
            str(row["films"]),
            *(digits(row[name]) for name in ("films_s", "p50_ms", "p95_ms")),
            *(digits(row[name]) for name in ("cpu_s_per_film", "peak_mb")),
            percent(shares.get(_key(row), {}).get("whole")),
            *(digits(over.get(name)) for name in ("openvino", "eager_tuned")),
        )


def _facts(scenario: dict[str, Any]) -> str:
    words = f"{digits(sum(scenario['gmac'].values()), 4)} GMAC a film"
    for precision in dict.fromkeys(row["precision"] for row in scenario["measurements"]):
        differences = [
            row["difference"]
            for row in scenario["measurements"]
            if row["difference"] is not None and row["precision"] == precision
        ]
        if differences:
            words += f", {precision} |Δp| from ONNX Runtime at most {max(differences):.1e}"
    return f"{words}."


def _skips(scenario: dict[str, Any]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for skip in scenario["skipped"]:
        what = reasons.setdefault(skip["reason"], [])
        if skip["what"] not in what:
            what.append(skip["what"])
    return [
        f"{scenario['name']}, left out: {'; '.join(what)}: {reason}."
        for reason, what in reasons.items()
    ]


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["alternative"], row["precision"], row["concurrency"]
