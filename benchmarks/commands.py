"""What commands cost to start and to end: processor time, user and system, children included.

    python benchmarks/commands.py [--rounds 3] [--output FILE]

The archive's commands are put beside the import of pymilvus in the same round, and a report with
neighbours beside one without, its server's time included: a ratio stands whatever else the machine
does. Bars are the project's own. Only the quickstart's is wall time, for two quiet cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from inputs.films import real_film
from measuring.hardware import ROOT, describe
from measuring.processes import cpu_seconds
from measuring.record import write_result
from measuring.server import Server
from reports.tables import Table, digits, print_table
from rich.console import Console

from cxrexport.phantom import write_phantoms

FILMS = 28
PYTHON = sys.executable
CLIENT, EXPORT = (str(Path(PYTHON).with_name(name)) for name in ("cxrclient", "cxrexport"))
PYMILVUS, STATS, SIMILAR = "import pymilvus", "archive stats", "similar"
REPORT, NEIGHBOURS, PICTURES = "report", "report --uri", "report --uri --archive-films"
BUILD, PREVIEW, QUICKSTART = "cxrexport build", "cxrexport preview", "quickstart"
RATIOS = ((STATS, PYMILVUS, 1.2), (SIMILAR, PYMILVUS, 1.5), (NEIGHBOURS, REPORT, 1.3))
MOST_S = {BUILD: 45.0, PREVIEW: 6.0}
QUICKSTART_WALL_S = 20.0


class Cost(NamedTuple):
    """Of one command: seconds."""

    cpu_s: float
    wall_s: float


def run(*command: str, server: int | None = None) -> Cost:
    """Run a command to its end.

    Args:
        command: program and arguments.
        server: a process whose time counts too.

    Raises:
        SystemExit: the command failed.
    """
    before, begin = cpu_seconds(server) if server else 0.0, time.perf_counter()
    environment = os.environ | {"CXR_PATIENT_KEY": "only for this benchmark, and nobody's"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read().decode()}")
    served_s = cpu_seconds(server) - before if server else 0.0
    cpu_s = usage.ru_utime + usage.ru_stime + served_s
    return Cost(cpu_s, time.perf_counter() - begin)


def of_client(folder: Path, rounds: int) -> dict[str, list[Cost]]:
    """The client's commands on drawn films: name → a cost a round."""
    films = write_phantoms(FILMS, folder / "films", seed=1, size_px=768).parent / "images"
    film, archive = str(min(films.iterdir())), str(folder / "films.db")
    page = ("--html", str(folder / "page.html"))
    found: dict[str, list[Cost]] = {}
    with Server(ROOT / "model_repository") as server:
        at = ("--server", server.address)
        run(CLIENT, "index", str(films), "--uri", archive, *at)
        near = ("--uri", archive)
        report = (CLIENT, "report", str(films), *page, *at)
        for _ in range(rounds):
            costs = {
                PYMILVUS: run(PYTHON, "-c", "import pymilvus"),
                STATS: run(CLIENT, "archive", "stats", *near),
                SIMILAR: run(CLIENT, "similar", film, *near, *at),
                REPORT: run(*report, server=server.pid),
                NEIGHBOURS: run(*report, *near, server=server.pid),
                PICTURES: run(*report, *near, "--archive-films", str(films), server=server.pid),
            }
            for name, cost in costs.items():
                found.setdefault(name, []).append(cost)
    return found


def of_exporter(folder: Path) -> dict[str, list[Cost]]:
    """`build` and `preview` with the recipe starter, and the quickstart: name → one cost."""
    repository, sheet = str(folder / "repository"), str(folder / "sheet.png")
    quickstart = (PYTHON, str(ROOT / "deploy/quickstart.py"), "--output", str(folder / "quick"))
    return {
        BUILD: [run(EXPORT, "build", "--random-weights", "--repository", repository)],
        PREVIEW: [run(EXPORT, "preview", "--image", str(real_film()), "--output", sheet)],
        QUICKSTART: [run(*quickstart)],
    }


def table(found: dict[str, list[Cost]]) -> Table:
    """Medians, and ratios of the same round, beside the bars."""
    beside = {name: (other, most) for name, other, most in RATIOS}
    rows = []
    for name, costs in found.items():
        bar, ratio = "", ""
        if name in beside:
            other, most = beside[name]
            pairs = zip(costs, found[other], strict=True)
            times = statistics.median(one.cpu_s / two.cpu_s for one, two in pairs)
            ratio, bar = f"{digits(times)} x {other}", f"{most} x"
        elif name in MOST_S:
            bar = f"{MOST_S[name]:.0f} s CPU"
        elif name == QUICKSTART:
            bar = f"{QUICKSTART_WALL_S:.0f} s wall, quiet"
        cpu_s, wall_s = (statistics.median(each) for each in zip(*costs, strict=True))
        rows.append((name, digits(cpu_s), digits(wall_s), ratio, bar))
    notes = (f"{FILMS} drawn films; load of the machine {os.getloadavg()[0]:.1f}.",)
    return Table("Commands", ("", "CPU, s", "wall, s", "ratio", "at most"), rows, notes)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Of the client's commands.")] = 3,
    output: Annotated[Path | None, typer.Option(help="Result, JSON.")] = None,
) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        found = of_client(Path(folder), rounds) | of_exporter(Path(folder))
    print_table(Console(width=120), table(found))
    if output is not None:
        costs = {name: [each._asdict() for each in some] for name, some in found.items()}
        write_result(output, {"benchmark": "commands", "machine": describe(), "costs": costs})


if __name__ == "__main__":
    typer.run(main)
