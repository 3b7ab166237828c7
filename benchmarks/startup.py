"""How long a person waits for `cxrclient --help`, and what `import cxrclient` loads.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

HEAVY = ("torch", "cv2", "pymilvus", "tritonclient", "onnx", "openvino")
RUNS = 11


def seconds(command: list[str]) -> list[float]:
    """Wall time of each run, the first (cold) one left out."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return times[1:]


def main() -> None:
    """Print both."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import cxrclient": [sys.executable, "-c", "import cxrclient"],
        "cxrclient --help": [str(Path(sys.executable).with_name("cxrclient")), "--help"],
        "cxrexport --help": [str(Path(sys.executable).with_name("cxrexport")), "--help"],
    }
    table = Table("command", "median s", "slowest s", title=f"{RUNS - 1} runs each")
    for name, command in commands.items():
        times = seconds(command)
        table.add_row(name, f"{statistics.median(times):.2f}", f"{max(times):.2f}")
    Console(width=80).print(table)
    probe = f"import sys, cxrclient; print([m for m in {HEAVY!r} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", probe], check=True, capture_output=True, text=True
    ).stdout.strip()
    Console(width=80).print(f"heavy modules that `import cxrclient` loads: {loaded}", markup=False)


if __name__ == "__main__":
    main()
