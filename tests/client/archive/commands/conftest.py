"""Films of four patients, and the commands that archive and search them, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from archive_commands import PATIENT
from cxrclient.cli.app import app

SECRET = "a secret of this test"


@pytest.fixture(scope="session")
def films(tmp_path_factory, drawn_film, write_dicom) -> Path:
    """A folder of five films of three patients."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(5):
        write_dicom(
            folder / f"{number}.dcm",
            drawn_film(seed=number),
            PatientID=f"{PATIENT}{number // 2}",
            PatientSex="F",
            PatientAge="061Y",
        )
    return folder


@pytest.fixture
def cxrclient(triton_server, monkeypatch) -> Callable[..., Result]:
    monkeypatch.setenv("CXR_SERVER", triton_server.grpc_address)
    monkeypatch.setenv("CXR_PATIENT_KEY", SECRET)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def indexed(films, triton_server, tmp_path_factory) -> Path:
    """An archive of all these films; only searched in."""
    uri = tmp_path_factory.mktemp("indexed") / "cxr.db"
    words = ["index", str(films), "--uri", str(uri), "--server", triton_server.grpc_address]
    done = CliRunner().invoke(app, words, env={"CXR_PATIENT_KEY": SECRET})
    assert done.exit_code == 0, done.output
    return uri


@pytest.fixture
def uri(tmp_path: Path) -> Path:
    return tmp_path / "cxr.db"
