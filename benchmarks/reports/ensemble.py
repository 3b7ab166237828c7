"""The result of ensemble.py → tables."""

from __future__ import annotations

from typing import Any

from reports.tables import Table, digits, percent

NAMES = {
    "eager": "PyTorch eager",
    "eager-tuned": "PyTorch eager, malloc tuned",
    "onnxruntime": "ONNX Runtime loop",
    "openvino": "OpenVINO loop, no server",
    "triton": "Triton ensemble",
    "predict": "`cxrclient predict`",
}


def ensemble_tables(result: dict[str, Any]) -> list[Table]:
    """For each scenario: what was measured, and its ratios within the run."""
    tables: list[Table] = []
    for scenario in result["scenarios"]:
        if "failed" in scenario:
            tables.append(Table(scenario["name"], ("failed",), [(scenario["failed"],)]))
            continue
        tables.append(_measured(scenario))
    return tables


def _measured(scenario: dict[str, Any]) -> Table:
    shares = {_key(row): row for row in scenario["shares"]}
    ratios = {_key(row): row["over"] for row in scenario["ratios"]}
    rows = []
    for row in scenario["measurements"]:
        over = ratios.get(_key(row), {})
        rows.append(
            (
                f"{NAMES[row['alternative']]}, {row['precision']}",
                str(row["concurrency"]),
                str(row["films"]),
                *(digits(row[name]) for name in ("films_s", "p50_ms", "p95_ms")),
                *(digits(row[name]) for name in ("cpu_s_per_film", "peak_mb")),
                percent(shares.get(_key(row), {}).get("whole")),
                *(digits(over.get(name)) for name in ("openvino", "eager_tuned")),
            )
        )
    columns = ("", "in flight", "films", "films/s", "p50 ms", "p95 ms", "CPU s a film", "peak MB")
    more = ("share of peak", "÷ OpenVINO loop", "÷ eager, tuned")
    return Table(scenario["name"], (*columns, *more), rows, [_facts(scenario), *_skips(scenario)])


def _facts(scenario: dict[str, Any]) -> str:
    gmac = scenario["gmac"]
    each = ", ".join(f"{name} {digits(amount)}" for name, amount in gmac.items() if amount > 0.0005)
    words = f"{digits(sum(gmac.values()), 4)} GMAC a film ({each})."
    ready = ", ".join(f"{name} {digits(s)} s" for name, s in scenario["ready_s"].items())
    words += f" Triton from start to ready: {ready}." if ready else ""
    for precision in dict.fromkeys(row["precision"] for row in scenario["measurements"]):
        differences = [
            row["difference"]
            for row in scenario["measurements"]
            if row["difference"] is not None and row["precision"] == precision
        ]
        if differences:
            words += f" Largest |Δp| from ONNX Runtime, {precision}: {max(differences):.1e}."
    return words


def _skips(scenario: dict[str, Any]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for skip in scenario["skipped"]:
        what = reasons.setdefault(skip["reason"], [])
        if skip["what"] not in what:
            what.append(skip["what"])
    return [f"Left out: {'; '.join(what)}: {reason}." for reason, what in reasons.items()]


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["alternative"], row["precision"], row["concurrency"]
