"""A drawn film in the headers that hospitals write, a prediction of it, and DICOM's own judges."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest

from dressed_film import drawn, film
from predicted_film import model, predicted

__all__ = ["drawn", "film", "model", "predicted"]  # fixtures


@pytest.fixture(scope="session")
def errors_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], list[str]]:
    """What dciodvfy calls an error, each once."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy: apt-get install dicom3tools (the Debian package)")
    folder = tmp_path_factory.mktemp("dciodvfy")

    def judged(data: bytes) -> list[str]:
        path = folder / "object.dcm"
        path.write_bytes(data)
        told = subprocess.run(
            ["dciodvfy", str(path)], capture_output=True, text=True, errors="replace"
        )
        lines = (told.stdout + told.stderr).splitlines()
        assert lines, "dciodvfy says nothing"
        return sorted({line for line in lines if line.startswith("Error")})

    return judged
