"""The results of node.py → tables."""

from __future__ import annotations

from typing import Any

from reports.tables import Table, digits


def node_tables(result: dict[str, Any]) -> list[Table]:
    """What is there of it: a film's cost, and workers."""
    tables = []
    if "film" in result:
        tables.append(_film_table(result["film"]))
    if "workers" in result:
        tables.append(_workers_table(result["workers"]))
    return tables


def _film_table(film: dict[str, Any]) -> Table:
    rows = [(name, digits(1e3 * seconds)) for name, seconds in film["parts_s"].items()]
    rows.append(("three objects, without decoding", digits(1e3 * film["objects_s"])))
    note = (
        f"{film['rows']} by {film['columns']} pixels, uncompressed, medians of "
        f"{film['times']}. Processor time of a worker; what Triton takes is not in it."
    )
    return Table("A film in a worker of the node", ("", "CPU ms"), rows, [note])


def _workers_table(workers: list[dict[str, Any]]) -> Table:
    rows = [
        (
            str(row["workers"]),
            digits(row["films_s"]),
            digits(1e3 * row["worker_cpu_s"]),
            digits(1e3 * row["server_cpu_s"]),
            ", ".join(f"{mb:.0f}" for mb in row["pss_mb"]),
        )
        for row in workers
    ]
    columns = ("workers", "films/s", "CPU ms a film, workers", "CPU ms a film, Triton")
    return Table("Workers of the node", (*columns, "MB (PSS) of each worker"), rows, [])
