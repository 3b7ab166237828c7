"""What preprocessing.py measured, as tables. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tables import NONE, Table, digits, machine_table

MOST_MS = {"1955x1841, real": 8.0, "3000x3000, drawn": 12.0}
LEAST_OVER_NAIVE, LEAST_OVER_MONAI = 7.0, 18.0
REAL = "1955x1841, real"


def tables(result: dict[str, Any], product: str, naive: str, monai: str) -> Iterator[Table]:
    """Every table.

    Args:
        result: as preprocessing.py writes it.
        product: name of the product among what was measured.
        naive: of the naive numpy version.
        monai: of MONAI with scikit-image.
    """
    yield machine_table(result)
    yield from _in_turns(result, product)
    yield from _stages(result)
    yield _compressed(result)
    yield _sizes(result)
    yield _side_by_side(result)
    yield goals(result, product, naive, monai)


def goals(result: dict[str, Any], product: str, naive: str, monai: str) -> Table:
    """Asked and measured, with OpenCV's own threads, as a server runs it."""
    most = max(row["threads"] for row in result["in_turns"])
    rows_of = {(r["film"], r["name"]): r for r in result["in_turns"] if r["threads"] == most}
    rows = []
    for film, limit in MOST_MS.items():
        median = rows_of[film, product]["median_ms"]
        words = f"{digits(median)} ms"
        rows.append((f"{film}: median", f"≤ {limit:.0f} ms", words, _met(median <= limit)))
    for name, least in ((naive, LEAST_OVER_NAIVE), (monai, LEAST_OVER_MONAI)):
        row = rows_of.get((REAL, name))
        asked, bar = f"{REAL}: {name} over the product", f"≥ {least:.0f}"
        if row is None:
            rows.append((asked, bar, f"skipped: {result['missing']}", NONE))
        else:
            ratio = row["over_product"]
            rows.append((asked, bar, digits(ratio), _met(ratio >= least)))
    note = (
        "Equality with the reference implementation: tests/export/preprocessing/test_reference.py."
    )
    return Table("Asked and measured", ("asked", "bar", "measured", "met"), rows, [note])


def _met(holds: bool) -> str:
    return "yes" if holds else "no"


def _in_turns(result: dict[str, Any], product: str) -> Iterator[Table]:
    unlike = {(r["film"], r["name"]): r["mean_difference"] for r in result["unlike"]}
    notes = [
        "of product: median of the rounds' ratios. unlike: mean |difference| from the product's "
        "image, 0..1; the others crop by a plain threshold.",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
    ]
    if result["missing"]:
        notes.append(f"Left out: {result['missing']}.")
    columns = ("", "threads", "median ms", "p95 ms", "CPU ms", "of product", "unlike")
    for film in MOST_MS:
        rows = [
            (
                *(row["name"], str(row["threads"]), digits(row["median_ms"])),
                *(digits(row["p95_ms"]), digits(row["cpu_ms"])),
                NONE if row["name"] == product else digits(row["over_product"]),
                digits(unlike[film, row["name"]]),
            )
            for row in result["in_turns"]
            if row["film"] == film
        ]
        yield Table(f"{film}, uncompressed, to 1024 px", columns, rows, notes)


def _stages(result: dict[str, Any]) -> Iterator[Table]:
    for film, stages in result["stages"].items():
        total = sum(stage["median_ms"] for stage in stages)
        rows = [
            (
                *(stage["stage"], digits(stage["median_ms"]), digits(stage["cpu_ms"])),
                f"{100 * stage['median_ms'] / total:.0f} %",
            )
            for stage in stages
        ]
        rows.append(("sum", digits(total), digits(sum(s["cpu_ms"] for s in stages)), "100 %"))
        yield Table(f"By stage: {film}", ("stage", "median ms", "CPU ms", "share"), rows)


def _compressed(result: dict[str, Any]) -> Table:
    rows = [
        (
            *(row["name"], f"{row['bytes'] / 1e6:.1f}", digits(row["median_ms"])),
            *(digits(row["p95_ms"]), digits(row["cpu_ms"])),
        )
        for row in result["compressed"]
    ]
    columns = ("transfer syntax", "MB", "median ms", "p95 ms", "CPU ms")
    return Table("The real film, compressed: decoding is its library's", columns, rows)


def _sizes(result: dict[str, Any]) -> Table:
    rows = [
        (
            *(f"{row['side_px']}x{row['side_px']}", digits(row["median_ms"])),
            *(digits(row["cpu_ms"]), digits(row["median_ms"] * 1e6 / row["side_px"] ** 2)),
        )
        for row in result["sizes"]
    ]
    columns = ("drawn film", "median ms", "CPU ms", "ns a film pixel")
    return Table("Growth with the film's size, to 1024 px", columns, rows)


def _side_by_side(result: dict[str, Any]) -> Table:
    rows = [
        (
            *(str(row["threads"]), "yes" if row["kept"] else "no", digits(row["films_s"])),
            *(digits(row["median_ms"]), digits(row["p95_ms"]), digits(row["cpu_ms"])),
        )
        for row in result["side_by_side"]
    ]
    columns = ("threads each", "memory kept", "films/s", "median ms", "p95 ms", "CPU ms a film")
    notes = [
        "Each film as new bytes, its answer copied out. The server's step keeps freed memory "
        "(keep_freed_memory); OpenCV's threads are its default, all cores."
    ]
    return Table(f"Two processes at once, as in the server: {REAL}", columns, rows, notes)
