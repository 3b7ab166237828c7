"""The results of node.py → tables."""

from __future__ import annotations

from typing import Any

from reports.tables import Table, digits


def node_tables(result: dict[str, Any]) -> list[Table]:
    """What is there of it: the node from outside, a film's cost, and workers."""
    tables = []
    if "receiving" in result:
        tables.append(_door_table(result["receiving"], result.get("way")))
    if "film" in result:
        tables.append(_film_table(result["film"]))
    if "workers" in result:
        tables.append(_workers_table(result["workers"]))
    return tables


def _door_table(receiving: dict[str, Any], way: dict[str, Any] | None) -> Table:
    rows = [
        (
            "associations, one after the other, a second",
            digits(receiving["associations_s"]),
            ">= 20",
        ),
        (
            "durable 1 MB films over one association, a second",
            digits(receiving["films_s"]),
            ">= 10",
        ),
        ("the same again, a second", digits(receiving["duplicates_s"]), ">= 50"),
        ("7 MB films of eight senders, a second", digits(receiving["large_films_s"]), ""),
        ("MB (PSS) of the receiver then, at most", digits(receiving["receiver_pss_mb"]), "<= 300"),
        ("seconds from a start after kill -9 to C-ECHO", digits(receiving["restart_s"]), "<= 5"),
    ]
    if way is not None:
        rows += [
            ("seconds from acknowledgement to delivery", digits(way["way_s"]), ""),
            ("of them beside Triton's", digits(way["beside_triton_s"]), "<= 1"),
        ]
    note = "Senders are on the same machine. While films are received, the server is away."
    return Table("The node from outside", ("", "", "asked"), rows, [note])


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
