"""The result of ensemble.py → tables."""

from __future__ import annotations

from typing import Any

from tables import Table, digits, percent

NAMES = {
    "eager": "PyTorch eager",
    "eager-tuned": "PyTorch eager, malloc tuned",
    "onnxruntime": "ONNX Runtime loop",
    "openvino": "OpenVINO loop, no server",
    "triton": "Triton ensemble",
    "predict": "`cxrclient predict`",
}


def ensemble_tables(result: dict[str, Any]) -> list[Table]:
    """For each scenario: what was measured, and the ratios."""
    tables: list[Table] = []
    for scenario in result["scenarios"]:
        if "failed" in scenario:
            tables.append(Table(scenario["name"], ("failed",), [(scenario["failed"],)]))
            continue
        tables += [_measured(scenario), _ratios(scenario)]
    return tables


def _measured(scenario: dict[str, Any]) -> Table:
    shares = {_key(row): row for row in scenario["shares"]}
    rows = []
    for row in scenario["measurements"]:
        share = shares.get(_key(row), {})
        rows.append(
            (
                f"{NAMES[row['alternative']]}, {row['precision']}",
                str(row["concurrency"]),
                str(row["films"]),
                digits(row["films_s"]),
                *(digits(row[name]) for name in ("p50_ms", "p95_ms", "p99_ms")),
                digits(row["cpu_s_per_film"]),
                digits(row["peak_mb"]),
                percent(share.get("whole")),
                percent(share.get("graphs")),
            )
        )
    gmac = scenario["gmac"]
    each = ", ".join(f"{name} {digits(amount)}" for name, amount in gmac.items() if amount > 0.0005)
    ready = ", ".join(f"{name} {digits(s)} s" for name, s in scenario["ready_s"].items())
    notes = [f"GMAC a film: {digits(sum(gmac.values()), 4)} ({each}).", *_skips(scenario)]
    notes += [f"Triton from start to ready: {ready}."] if ready else []
    differences = ", ".join(
        f"{NAMES[row['alternative']]} {row['precision']} {row['difference']:.1e}"
        for row in scenario["measurements"]
        if row["difference"] is not None and row["alternative"] != "onnxruntime"
    )
    notes += [f"Largest |Δp| from ONNX Runtime: {differences}."] if differences else []
    columns = ("", "in flight", "films", "films/s", "p50 ms", "p95 ms", "p99 ms", "CPU s a film")
    more = ("peak MB", "share of peak", "graphs alone")
    return Table(f"{scenario['name']}: measured", (*columns, *more), rows, notes)


def _skips(scenario: dict[str, Any]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for skip in scenario["skipped"]:
        what = reasons.setdefault(skip["reason"], [])
        if skip["what"] not in what:
            what.append(skip["what"])
    return [f"Left out: {'; '.join(what)}: {reason}." for reason, what in reasons.items()]


def _ratios(scenario: dict[str, Any]) -> Table:
    names = ("openvino", "onnxruntime", "eager_tuned", "eager")
    rows = [
        (
            f"{NAMES[row['alternative']]}, {row['precision']}, {row['concurrency']} in flight",
            *(digits(row["over"][name]) for name in names),
        )
        for row in scenario["ratios"]
    ]
    columns = ("films a second, over", "OpenVINO loop, same precision", "ONNX Runtime f32")
    more = ("eager f32, malloc tuned", "eager f32")
    return Table(f"{scenario['name']}: ratios within the run", (*columns, *more), rows)


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["alternative"], row["precision"], row["concurrency"]
