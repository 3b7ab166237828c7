"""The result of benchmarks/client.py as tables. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.tables import Table, digits

MOST_CPU_MS = 3.0
MOST_MEMORY_MB = 300.0
MOST_GROWTH = 0.10
"""The project's own bars: processor time of a film; memory of the long run, and over the short."""
COUNTED = ("read", "strip", "send")
"""The parts that the first bar is for."""


def client_tables(result: dict[str, Any]) -> list[Table]:
    """Both tables."""
    return [parts_table(result["parts_cpu_ms"]), runs_table(result["runs"])]


def parts_table(ms: Mapping[str, float]) -> Table:
    """Processor time by part; the bar is in `goals`."""
    rows = [(part, digits(time_ms)) for part, time_ms in ms.items()]
    title = "Client work on a film (1955x1841, uncompressed)"
    return Table(title, ("part", "CPU, ms"), rows)


def runs_table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """Memory and time of the runs; the bars are in `goals`."""
    rows = []
    for command, (short, long) in found.items():
        for each in (short, long):
            more = each["films"] - short["films"]
            cpu_ms = 1000 * (each["cpu_s"] - short["cpu_s"]) / more if more else None
            rows.append(
                (
                    f"{command}, {each['films']:.0f} films",
                    digits(each["wall_s"]),
                    digits(each["films"] / each["wall_s"]),
                    digits(cpu_ms),
                    digits(each["peak_mb"]),
                )
            )
    columns = ("run", "s", "films/s", "CPU ms a further film", "peak MB")
    notes = (
        "The server is a real Triton whose `cxr` answers with constants, so that the client sets "
        "the pace; predict sends films of full size, index small ones (64x64), all different.",
    )
    return Table("Runs from the command line", columns, rows, notes)
