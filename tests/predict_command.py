"""`cxrclient predict` as a program, and the lines that it writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

HANG_S = 600  # only a hang takes so long, whatever else the machine does

COMMAND = str(Path(sys.executable).with_name("cxrclient"))


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]
