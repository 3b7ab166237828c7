"""Films in a folder, and `cxrclient predict` in this process or as one of its own."""

from __future__ import annotations

import subprocess

import pytest
from typer.testing import CliRunner

from cxrclient.cli.app import app
from predict_command import COMMAND, HANG_S


@pytest.fixture(scope="session")
def films(tmp_path_factory, drawn_film, write_dicom):
    """A folder with two films, a film and a letter below, and a rejected one."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "below").mkdir()
    write_dicom(folder / "a.dcm", drawn_film(1))
    write_dicom(folder / "b.dcm", drawn_film(2))
    write_dicom(folder / "below" / "a.dcm", drawn_film(3, rows=260))
    (folder / "below" / "letter.txt").write_text("Dear colleague")
    return folder


@pytest.fixture(scope="session")
def predict(triton_server):
    """Runs the command in this process, with the real server."""

    def run(*arguments, server=triton_server.grpc_address):
        command = ["predict", *map(str, arguments), "--server", server]
        done = CliRunner().invoke(app, command, catch_exceptions=False)
        return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def predict_alone(triton_server):
    """Runs the command as a process of its own, where its surroundings matter."""

    def run(*arguments, server=triton_server.grpc_address, **options):
        command = [COMMAND, "predict", *map(str, arguments)]
        if server:
            command += ["--server", server]
        return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, **options)

    return run
