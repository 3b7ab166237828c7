"""What films cost that somebody made to hurt: processor time and memory, on both sides.

    python benchmarks/hostile_films.py [WORDS OF A NAME …]

Each side reads each file in a process of its own: the client as `read_film` does, the server's
preprocessing the file as it is, and what the client would send of it. Memory is the peak above that
of the idle process, the file among it. A process may take 120 s of a processor and 6 GB.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from hostile_dicom import film_with
from hostile_material import HOSTILE
from rich.console import Console
from rich.table import Table

LIMIT_CPU_S, LIMIT_BYTES = 120, 6 << 30


def main(
    words: Annotated[list[str] | None, typer.Argument(help="only files with these words")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the numbers here")] = None,
) -> None:
    """Make each file, let both sides read it, and print what it cost."""
    columns = ("file", "size", "client", "CPU s", "MB", "server", "CPU s", "MB")
    table = Table(*columns, title="Hostile films")
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film"
        for name, hostile in HOSTILE.items():
            if any(word not in name for word in words or ()):
                continue
            path.write_bytes(hostile.make())
            size = path.stat().st_size
            sides = {side: _measured(side, path) for side in ("client", "server")}
            rows[name] = {"bytes": size, **sides}
            table.add_row(
                name, f"{size / 1e3:,.0f} kB", *(c for s in sides.values() for c in _cells(s))
            )
            print(name, size, sides, file=sys.stderr, flush=True)
    Console(width=160).print(table)
    if json_file:
        json_file.write_text(json.dumps(rows, indent=1))


def _cells(cost: dict[str, Any]) -> tuple[str, str, str]:
    return cost["code"], f"{cost['cpu_s']:.2f}", f"{cost['peak_mb']:.0f}"


def _measured(side: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--side", side, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_limit)
    if done.returncode:
        used = done.stderr.strip().splitlines()[-1:] or [f"signal {-done.returncode}"]
        return {"code": f"({used[0][:40]})", "cpu_s": float("nan"), "peak_mb": float("nan")}
    cost: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return cost


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_CPU_S, LIMIT_CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))


def _one_side(side: str, path: Path) -> None:
    """Read the file as one side does, and print what it cost above an idle, warm process."""
    if side == "client":
        from cxrclient.errors import FilmError
        from cxrclient.film import read_film as read
    else:
        from cxrexport.errors import FilmError  # type: ignore[assignment]
        from cxrexport.preprocessing import PreprocessingSpec, preprocess

        spec = PreprocessingSpec()

        def read(source: bytes) -> object:  # type: ignore[misc]
            return preprocess(source, spec)

    read(film_with())
    if side == "server":  # the decoders, too
        ramp = np.resize(np.arange(256, dtype=np.uint8), (64, 64))
        read(cv2.imencode(".png", ramp)[1].tobytes())
    idle_kb, began_s = _memory_kb("VmRSS"), _cpu_s()
    Path("/proc/self/clear_refs").write_text("5")
    code = "ok"
    try:
        read(path.read_bytes())
    except FilmError as error:
        code = error.code
    except MemoryError:
        code = "(memory)"
    child_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak_kb = _memory_kb("VmHWM") - idle_kb + max(0, child_kb - idle_kb)
    print(json.dumps({"code": code, "cpu_s": _cpu_s() - began_s, "peak_mb": peak_kb / 1e3}))


def _memory_kb(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        _one_side(sys.argv[2], Path(sys.argv[3]))
    else:
        typer.run(main)
