"""What a good film costs in two checkouts: time and processor time, client and server together.

    python benchmarks/checkouts.py BEFORE AFTER [--film FILE …] [--pairs 150] [--repository PATH]

Each checkout has its own environment (`make install`) and serves its own repository. The films go
one at a time, to the two in turn, so that what slows the machine down for a while slows both.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from inputs.films import real_film
from measuring.processes import cpu_seconds
from reports.tables import Table, digits, print_table
from rich.console import Console

PORTS = [word for name in ("grpc", "http", "metrics") for word in (f"--{name}-port", "0")]
CLIENT = """
import sys
from cxrclient import CxrClient
with CxrClient(sys.argv[1]) as client:
    for line in sys.stdin:
        print(client.predict(line.rstrip("\\n")).label, flush=True)
"""
WARM_UP = 3


class Checkout:
    """A running server of a checkout, and a client of the same checkout that is connected to it."""

    def __init__(self, root: Path, repository: str) -> None:
        self.wall_ms: list[float] = []
        programs = root.resolve() / ".venv" / "bin"
        serve = [programs / "cxrclient", "serve", "--device", "cpu", *PORTS]
        self._server = _start([*serve, "--model-repository", root.resolve() / repository])
        ready = re.match(r"Ready: gRPC (\S+),", _line(self._server))
        if ready is None:
            raise RuntimeError(f"the server of {root} did not start")
        self._client = _start([programs / "python", "-c", CLIENT, ready[1]])

    def close(self) -> None:
        """End both."""
        self._client.communicate()
        self._server.terminate()
        self._server.communicate()

    def predict(self, film: Path) -> None:
        """Send one film and keep how long it took."""
        began = time.perf_counter()
        print(film, file=self._client.stdin, flush=True)
        if not _line(self._client):
            raise RuntimeError(f"{film} has no prediction")
        self.wall_ms.append(1000 * (time.perf_counter() - began))

    def cpu_s(self) -> float:
        """Processor time so far; between its films both processes idle."""
        return cpu_seconds(self._server.pid) + cpu_seconds(self._client.pid)


def _start(command: list[Path | str]) -> subprocess.Popen[str]:
    words = [str(word) for word in command]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline() if process.stdout else ""


def main(
    before: Annotated[Path, typer.Argument(help="Root of a checkout.")],
    after: Annotated[Path, typer.Argument(help="Root of another one.")],
    film: Annotated[list[Path] | None, typer.Option(help="Left out: a real one of 7 MB.")] = None,
    pairs: Annotated[int, typer.Option(min=2)] = 150,
    repository: Annotated[str, typer.Option(help="Within each checkout.")] = "model_repository",
) -> None:
    """Print p50 and processor time of each film in both checkouts, and the ratio."""
    films = film or [real_film()]
    with closing(Checkout(before, repository)) as old, closing(Checkout(after, repository)) as new:
        rows = [_row(path.resolve(), old, new, pairs) for path in films]
    headings = ("film", "p50 before", "p50 after", "ratio of pairs", "CPU before", "CPU after", "÷")
    print_table(Console(), Table(f"A film, {pairs} pairs, ms", headings, rows))


def _row(film: Path, old: Checkout, new: Checkout, pairs: int) -> tuple[str, ...]:
    for each in (old, new) * WARM_UP:
        each.predict(film)
    for each in (old, new):
        each.wall_ms.clear()
    begun_s = [each.cpu_s() for each in (old, new)]
    for number in range(pairs):
        for each in (old, new) if number % 2 else (new, old):
            each.predict(film)
    ratios = [b / a for a, b in zip(old.wall_ms, new.wall_ms, strict=True)]
    spent_s = [each.cpu_s() - s for each, s in zip((old, new), begun_s, strict=True)]
    cpu = [1000 * s / pairs for s in spent_s]
    p50 = [statistics.median(each.wall_ms) for each in (old, new)]
    values = (*p50, statistics.median(ratios), *cpu, cpu[1] / cpu[0])
    return (film.name, *(digits(value, 4) for value in values))


if __name__ == "__main__":
    typer.run(main)
