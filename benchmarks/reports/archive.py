"""The result of benchmarks/archive.py as tables. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.tables import Table, digits

MOST_EMBEDDED_P50_MS, MOST_EMBEDDED_P99_MS, LEAST_ADDED_S = 20.0, 60.0, 2000.0
MOST_SERVER_P50_MS, LEAST_RECALL = 15.0, 0.98
"""The project's own bars: at 20,000 films in a file, and at 200,000 on a server."""

Rows = Sequence[dict[str, Any]]


def archive_tables(result: dict[str, Any]) -> list[Table]:
    """The archive in a file, and on a server where there was one."""
    server = result["server"]
    if isinstance(server, dict):
        note = f"The server was not measured: {server['missing']}."
        table = embedded_table(result["embedded"])
        return [Table(table.title, table.columns, table.rows, [*table.notes, note])]
    return [embedded_table(result["embedded"]), server_table(server)]


def embedded_table(rows: Rows) -> Table:
    """One line a size."""
    asked = (
        f"Asked at 20,000 films: p50 ≤ {MOST_EMBEDDED_P50_MS:.0f} ms, p99 ≤ "
        f"{MOST_EMBEDDED_P99_MS:.0f} ms, ≥ {LEAST_ADDED_S:,.0f} added a second. k = 4, one film a "
        "patient; filtered: view and age."
    )
    return _table("Embedded (Milvus Lite)", rows, [asked])


def server_table(rows: Rows) -> Table:
    """One line a size and index."""
    asked = (
        f"Asked at 200,000 films: p50 ≤ {MOST_SERVER_P50_MS:.0f} ms, recall@10 ≥ {LEAST_RECALL} "
        "against exact search (numpy)."
    )
    first, last = rows[0], rows[-1]
    growth = (
        f"From {first['films']:,} to {last['films']:,} films: p50 times "
        f"{digits(last['p50_ms'] / first['p50_ms'])}, adding times "
        f"{digits(last['added_s'] / first['added_s'])}."
    )
    return _table("Milvus server", rows, [asked, growth])


def _table(title: str, rows: Rows, notes: list[str]) -> Table:
    """One line a size and index."""
    columns = ("films", "index", "added a second", "index built, s", "p50, ms", "p99, ms")
    columns += ("filtered p50, ms", "recall@10")
    cells = [
        (
            f"{row['films']:,}",
            row["index"],
            f"{row['added_s']:,.0f}",
            digits(row["index_s"]),
            digits(row["p50_ms"]),
            digits(row["p99_ms"]),
            digits(row["filtered_p50_ms"]),
            f"{row['recall_at_10']:.4f}",
        )
        for row in rows
    ]
    return Table(title, columns, cells, notes)
