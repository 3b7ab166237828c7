"""The result of benchmarks/archive.py as a table. Pure functions."""

from __future__ import annotations

from typing import Any

from reports.tables import Table, digits

MOST_EMBEDDED_P50_MS, MOST_EMBEDDED_P99_MS, LEAST_ADDED_S = 20.0, 60.0, 2000.0
MOST_SERVER_P50_MS, LEAST_RECALL = 15.0, 0.98
"""The project's own bars: at 20,000 films in a file, and at 200,000 on a server."""


def archive_table(result: dict[str, Any]) -> Table:
    """One line a size and index, in a file and on a server where there was one."""
    notes = [
        "k = 4, one film a patient; filtered: view and age; recall against exact search (numpy)."
    ]
    rows = [_cells("a file", row) for row in result["embedded"]]
    server = result["server"]
    if isinstance(server, dict):
        notes.append(f"The server was not measured: {server['missing']}.")
    else:
        rows += [_cells("a server", row) for row in server]
    columns = ("in", "films", "index", "added a second", "index built, s", "p50, ms", "p99, ms")
    more = ("filtered p50, ms", "recall@10")
    return Table("Archive", (*columns, *more), rows, notes)


def formats_table(result: dict[str, Any]) -> Table:
    """What a filter costs in an archive of format 1 and of format 2: one line a filter."""
    places = [name for name in result if name != "machine"]
    rows = [
        (
            place,
            f"{row['films']:,} ({row['index']})",
            row["asked"],
            *(digits(row[when][time]) for time in ("p50_ms", "p99_ms") for when in _WHEN),
            f"{row['same']:.3f}",
            digits(row["copied_s"]),
        )
        for place in places
        for row in result[place]
    ]
    times = [f"{time}, ms, format {number}" for time in ("p50", "p99") for number in (1, 2)]
    columns = ("in", "films", "filter", *times, "same answers", "taken over, s")
    return Table("Formats of the archive", columns, rows, ["k = 4, one film a patient."])


_WHEN = ("before", "after")


def _cells(where: str, row: dict[str, Any]) -> tuple[str, ...]:
    return (
        where,
        f"{row['films']:,}",
        row["index"],
        f"{row['added_s']:,.0f}",
        digits(row["index_s"]),
        digits(row["p50_ms"]),
        digits(row["p99_ms"]),
        digits(row["filtered_p50_ms"]),
        f"{row['recall_at_10']:.4f}",
    )
