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
    """Processor time by part, and the bar."""
    counted = sum(ms[part] for part in COUNTED)
    rows = [(part, digits(time_ms), "") for part, time_ms in ms.items()]
    met = "yes" if counted <= MOST_CPU_MS else "NO"
    rows.append((" + ".join(COUNTED), digits(counted), f"≤ {MOST_CPU_MS:g}: {met}"))
    title = "Client work on a film (1955x1841, uncompressed)"
    return Table(title, ("part", "CPU, ms", "bar"), rows)


def runs_table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    """Memory and time of the runs, and the bars."""
    rows = []
    for command, (short, long) in found.items():
        growth = long["peak_mb"] / short["peak_mb"] - 1
        met = growth <= MOST_GROWTH and long["peak_mb"] <= MOST_MEMORY_MB
        for each in (short, long):
            more = each["films"] - short["films"]
            cpu_ms = 1000 * (each["cpu_s"] - short["cpu_s"]) / more if more else None
            bars = f"≤ {MOST_MEMORY_MB:g}, {growth:+.1%} of ≤ {MOST_GROWTH:.0%}"
            rows.append(
                (
                    f"{command}, {each['films']:.0f} films",
                    digits(each["wall_s"]),
                    digits(each["films"] / each["wall_s"]),
                    digits(cpu_ms),
                    digits(each["peak_mb"]),
                    f"{bars}: {'yes' if met else 'NO'}" if more else "",
                )
            )
    columns = ("run", "s", "films/s", "CPU ms a further film", "peak MB", "bar")
    notes = (
        "The server is a real Triton whose `cxr` answers with constants, so that the client sets "
        "the pace; predict sends films of full size, index small ones (64x64), all different.",
    )
    return Table("Runs from the command line", columns, rows, notes)
