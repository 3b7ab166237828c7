"""The result of preprocessing.py → tables."""

from __future__ import annotations

from typing import Any

from reports.tables import Table, digits, percent

REAL, DRAWN = "1955x1841, real", "3000x3000, drawn"
"""The two films, as the result names them."""


def preprocessing_tables(result: dict[str, Any]) -> list[Table]:
    """By film and by compression."""
    return [_films(result), _compressed(result)]


def _films(result: dict[str, Any]) -> Table:
    rows = [(row["film"], str(row["threads"]), *_times(row)) for row in result["films"]]
    columns = ("film", "threads", "median ms", "p95 ms", "CPU ms")
    return Table("A film, uncompressed, to 1024 px", columns, rows)


def stages_table(result: dict[str, Any]) -> Table:
    """Each stage of both films, for who works on one."""
    films = result["stages"]
    totals = {film: sum(stage["median_ms"] for stage in films[film]) for film in films}
    rows = [
        (
            stages[0]["stage"],
            *(
                cell
                for film, stage in zip(films, stages, strict=True)
                for cell in (
                    digits(stage["median_ms"]),
                    digits(stage["cpu_ms"]),
                    percent(stage["median_ms"] / totals[film]),
                )
            ),
        )
        for stages in zip(*films.values(), strict=True)
    ]
    names = [name for film in films for name in (f"{film}: ms", "CPU ms", "share")]
    return Table("By stage, on all cores", ("stage", *names), rows)


def _compressed(result: dict[str, Any]) -> Table:
    rows = [
        (row["name"], f"{row['bytes'] / 1e6:.1f}", *_times(row)) for row in result["compressed"]
    ]
    columns = ("transfer syntax", "MB", "median ms", "p95 ms", "CPU ms")
    return Table("The real film, compressed: most of it is the codec library's", columns, rows)


def _times(row: dict[str, Any]) -> tuple[str, str, str]:
    return digits(row["median_ms"]), digits(row["p95_ms"]), digits(row["cpu_ms"])
