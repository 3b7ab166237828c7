"""`cxrclient serve` as its users meet it: a real server, started and stopped."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from served import CXRCLIENT, FREE_PORTS, PATIENCE_S, Serving


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """Starts the command; its temporary files go to a directory of its own."""
    started: list[Serving] = []

    def start(repository: Path, *options: str, **environment: str) -> Serving:
        temporary = tmp_path / f"temporary{len(started)}"
        temporary.mkdir()
        command = [CXRCLIENT, "serve", "--model-repository", repository, "--device", "cpu"]
        process = subprocess.Popen(
            [*map(str, command), *FREE_PORTS, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary), **environment},
        )
        started.append(Serving(process, temporary))
        return started[-1]

    yield start
    for serving in started:
        serving.process.terminate()
        try:
            serving.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            serving.process.kill()
            serving.process.communicate()
