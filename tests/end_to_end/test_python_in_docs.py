"""The Python that README and tutorial show runs as it stands, against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrclient.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/tutorial.md")


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.+?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, triton_server, drawn_film, write_dicom) -> Path:
    """A folder as the quickstart leaves it, with an archive of its films."""
    folder = tmp_path_factory.mktemp("checkout")
    films = folder / "quickstart" / "films" / "images"
    films.mkdir(parents=True)
    for number in range(3):
        path = films / f"phantom_{number:04}_0.dcm"
        write_dicom(path, drawn_film(number), PatientID=f"P{number}")
    command = ["index", str(films), "--uri", str(folder / "cxr.db")]
    command += ["--server", triton_server.grpc_address]
    done = CliRunner().invoke(app, command, env={"CXR_PATIENT_KEY": "a secret of this test"})
    assert done.exit_code == 0, done.output
    return folder


def run(code: str, folder: Path, address: str) -> str:
    assert "localhost:8001" in code
    command = [sys.executable, "-c", code.replace("localhost:8001", address)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readmes_ten_lines_end_in_a_picture_of_the_films_size(folder, triton_server):
    (code,) = blocks("README.md")
    assert len([line for line in code.splitlines() if line]) <= 10
    assert "probability" in run(code, folder, triton_server.grpc_address)
    with Image.open(folder / "quickstart" / "overlay.png") as picture:
        assert picture.width == 200
        assert picture.height > 240  # the caption stands below


def test_every_block_of_the_tutorial_runs(folder, triton_server):
    told = [run(code, folder, triton_server.grpc_address) for code in blocks("docs/tutorial.md")]
    assert len(told) == 2
    assert "covid" in told[1]
    assert "(240, 200)" in told[1]
