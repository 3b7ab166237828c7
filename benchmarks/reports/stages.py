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
    """What each stage costs, and how that grows with the film where it was measured."""
    measured = [each for each in result["scenarios"] if "failed" not in each]
    failed = [
        f"{each['name']} failed: {each['failed']}"
        for each in result["scenarios"]
        if "failed" in each
    ]
    growing = [each for each in measured if "by_size" in each]
    precision = result["precision"]
    return [
        _stages(precision, measured, failed),
        *(_by_size(f"{each['name']}, {precision}", each["by_size"]) for each in growing),
    ]


def _stages(precision: str, scenarios: list[dict[str, Any]], failed: list[str]) -> Table:
    stages = [stage for stage in STAGES if all(stage in each["alone"] for each in scenarios)]
    totals = [sum(_busy(each["alone"][stage]) for stage in stages) for each in scenarios]
    rows = [
        (
            stage,
            *(
                cell
                for each, total in zip(scenarios, totals, strict=True)
                for cell in _cost(each["alone"][stage], each["gmac"].get(stage), total)
            ),
        )
        for stage in stages
    ]
    words = [
        f"{each['name']}: all stages by themselves {digits(total)} ms; a film through the ensemble "
        f"{digits(_film_ms(each['in_ensemble']['1']))} ms alone, "
        f"{digits(_film_ms(each['in_ensemble']['8']))} ms with eight in flight."
        for each, total in zip(scenarios, totals, strict=True)
    ]
    names = [name for each in scenarios for name in (f"{each['name']}: ms", "share", "GMAC/s")]
    return Table(
        f"Stages by themselves, {precision}", ("stage", *names), rows, [" ".join(words), *failed]
    )


def _cost(stage: dict[str, Any], gmac: float | None, total_ms: float) -> tuple[str, str, str]:
    rate = 1e3 * gmac / stage["infer_ms"] if gmac and gmac > 0.01 else None
    return digits(_busy(stage)), percent(_busy(stage) / total_ms), digits(rate)


def _by_size(name: str, sizes: list[dict[str, Any]]) -> Table:
    rows = [
        (
            f"{row['side_px']} px",
            digits(row["megabytes"]),
            digits(row["preprocess_ms"]),
            digits(row["film_ms"]),
        )
        for row in sizes
    ]
    columns = ("longer side of the film", "MB sent", "preprocess ms", "whole film ms")
    return Table(f"{name}: cost over the film's size", columns, rows)


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
    note = (
        "MB early and late: medians of the second and the last fifth. p99.9 of fewer than a "
        "thousand films is the slowest of them."
    )
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
