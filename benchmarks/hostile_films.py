"""What films cost that somebody made to hurt: processor time and memory, on both sides.

    python benchmarks/hostile_films.py [WORDS OF A NAME …]

Each is read in a process of its own: the file by the client's `read_film` (`client`) and by the
server's preprocessing (`server`), and what the client would send of it by the server (`sent`).
Memory is the peak above that of the idle process, the file among it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from hostile.dicom import film_with
from hostile.images import png
from hostile.material import HOSTILE
from reports.tables import Table, print_table
from rich.console import Console

SIDES = ("client", "server", "sent")
LIMIT_CPU_S, LIMIT_BYTES = 120, 6 << 30
"""What one process may take: this only ends what would never end."""


def main(
    words: Annotated[list[str] | None, typer.Argument(help="only files with these words")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the numbers here")] = None,
) -> None:
    """Make each file, let both sides read it, and print what it cost."""
    columns = ("file", "kB", *(word for side in SIDES for word in (side, "CPU s", "MB")))
    costs, rows = {}, []
    for name in HOSTILE:
        if all(word in name for word in words or ()):
            costs[name] = cost = costs_of([name])[name]
            cells = (cell for side in SIDES for cell in _cells(cost[side]))
            rows.append((name, f"{cost['bytes'] / 1e3:,.0f}", *cells))
    print_table(Console(width=180), Table("Hostile films", columns, rows))
    if json_file:
        json_file.write_text(json.dumps(costs, indent=1))


def _cells(cost: dict[str, Any]) -> tuple[str, str, str]:
    return cost["code"], f"{cost['cpu_s']:.2f}", f"{cost['peak_mb']:.0f}"


def costs_of(names: list[str]) -> dict[str, dict[str, Any]]:
    """Give size and, for each side, code, `cpu_s` and `peak_mb` of each of these files."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / str(n) for n, name in enumerate(names)}
        for name, path in paths.items():
            path.write_bytes(HOSTILE[name].make())
        costs: dict[str, dict[str, Any]] = {
            n: {"bytes": p.stat().st_size} for n, p in paths.items()
        }
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side, *map(str, paths.values())]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            lines = [line for line in done.stdout.splitlines() if line.startswith('{"code"')]
            for name, line in zip(names, lines, strict=True):
                costs[name][side] = json.loads(line)
    return costs


def _one_side(side: str, paths: list[Path]) -> None:
    """Read the files as one side does, each in a fork, and print what it cost above idle."""
    from cxrclient.films import read_film
    from cxrexport.preprocessing import PreprocessingSpec, preprocess

    spec = PreprocessingSpec()
    decode: Callable[[bytes], object] = lambda encoded: preprocess(encoded, spec)  # noqa: E731
    read: Callable[[bytes], object] = read_film if side == "client" else decode
    read(film_with())  # whatever is imported when first needed
    for path in paths:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            print(json.dumps(_cost(side, read, path)))
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            nothing = {"code": f"(status {status})", "cpu_s": -1, "peak_mb": -1}
            print(json.dumps(nothing))


def _cost(side: str, read: Callable[[bytes], object], path: Path) -> dict[str, Any]:
    from cxrclient.errors import FilmError
    from cxrclient.films import read_film

    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_CPU_S, LIMIT_CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    film: list[bytes] = []
    with contextlib.suppress(FilmError):
        read(png(64, 8, 0))  # what decodes is there before the film, as on a server
    if side == "sent":
        try:
            film.append(read_film(path.read_bytes()).payload)
        except FilmError:
            return {"code": "-", "cpu_s": 0, "peak_mb": 0}
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    idle_kb, began_s, code = _memory_kb("VmRSS") - len(b"".join(film)) // 1024, _cpu_s(), "ok"
    try:
        read(film[0] if film else path.read_bytes())
    except FilmError as error:
        code = error.code
    except MemoryError:
        code = "(memory)"
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
        os.waitpid(int(child), 0)  # what decoded is counted once it has ended
    used_s = _cpu_s() - began_s
    in_child_kb = max(0, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - idle_kb)
    # A decoder's own process has ended before its pixels, which both share, are looked at.
    peak_kb = max(_memory_kb("VmHWM") - idle_kb, path.stat().st_size // 1024 + in_child_kb)
    return {"code": code, "cpu_s": round(used_s, 3), "peak_mb": round(peak_kb / 1e3, 1)}


def _memory_kb(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        _one_side(sys.argv[2], [Path(path) for path in sys.argv[3:]])
    else:
        typer.run(main)
