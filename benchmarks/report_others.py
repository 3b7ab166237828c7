"""The results of cores.py, footprint.py, gradcam.py, bf16.py and preprocessing.py → tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tables import NONE, Table, digits


def cores_tables(result: dict[str, Any]) -> list[Table]:
    """Ways to share the cores, as shares of the loop without a server."""
    tables = []
    for scenario in result["scenarios"]:
        rows = [
            (
                row["alternative"],
                str(row["concurrency"]),
                str(row["films"]),
                digits(row["films_s"]),
                digits(row.get("of_the_loop")),
                digits(row["p50_ms"]),
            )
            for row in scenario["rows"]
        ]
        columns = ("who gets the cores", "in flight", "films", "films/s", "of the loop", "p50 ms")
        title = f"{scenario['scenario']}, {scenario['turns']} turns"
        tables.append(Table(title, columns, rows))
    return tables


def footprint_tables(result: dict[str, Any]) -> list[Table]:
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
    return [Table("The server's memory (PSS) and start", columns, rows)]


def gradcam_tables(result: dict[str, Any]) -> list[Table]:
    """A backbone with and without its Grad-CAM."""
    rows = [
        (
            name,
            digits(row["with_ms"]),
            digits(row["without_ms"]),
            f"{min(row['whole_times']):+.1%} to {max(row['whole_times']):+.1%}",
            digits(row["operations_ms"]),
            f"{row['cost']:+.2%}",
        )
        for name, row in result["backbones"].items()
    ]
    whole = ("with CAM ms", "without ms", "difference of single turns")
    columns = ("backbone", *whole, "operations of Grad-CAM alone, ms", "cost")
    return [Table(f"{result['scenario']}: what Grad-CAM costs", columns, rows)]


def bf16_tables(result: dict[str, Any]) -> list[Table]:
    """What bf16 changes on trained networks: a row a collection of films."""
    rows = [
        (
            f"{row['manifest']}{', emulated' if row['emulated'] else ''}",
            str(row["films"]),
            f"{row['largest_difference']:.2g}",
            f"{row['mean_difference']:.2g}",
            str(row["labels_changed"]),
            f"{row['nearest_to_threshold']:.2g}",
            f"{row['embedding_cosine_min']:.5f}",
            f"{row['heatmap_largest_drift']:.2g}",
            f"{row['lungs_dice_min']:.5f}",
        )
        for row in result["rows"]
    ]
    columns = ("films of", "films", "largest |Δp|", "mean |Δp|", "labels changed")
    more = ("nearest to the threshold", "embedding, least cosine", "heatmap, worst film's mean |Δ|")
    return [Table("bf16 beside f32, trained", (*columns, *more, "lung map, least Dice"), rows)]


def preprocessing_tables(result: dict[str, Any]) -> list[Table]:
    """Those of preprocessing.py, but for the machine, which the page has."""
    import preprocessing_report

    names = ("product", "numpy", "MONAI, scikit-image")
    found = preprocessing_report.tables(result, *names)
    return [table for table in found if table.title not in ("The machine", "Asked and measured")]


def plain_tables(result: dict[str, Any]) -> list[Table]:
    """Whatever lists of records a result holds: a table each, a column a key."""
    return [_records(name, records) for name, records in _lists("", result)]


def _lists(name: str, value: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "machine":
                yield from _lists(f"{name}, {key}".removeprefix(", "), item)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield name, value


def _records(name: str, records: list[dict[str, Any]]) -> Table:
    columns = list(dict.fromkeys(key for record in records for key in record))
    plain = [
        key for key in columns if not any(isinstance(r.get(key), dict | list) for r in records)
    ]
    rows = [[_text(record.get(key)) for key in plain] for record in records]
    return Table(name, [key.replace("_", " ") for key in plain], rows)


def _text(value: Any) -> str:
    if value is None:
        return NONE
    return digits(value) if isinstance(value, float) else str(value)
