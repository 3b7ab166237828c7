"""Where an archive's file goes, and the commands on archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxrclient.cli.app import app


@pytest.fixture
def uri(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "cxr.db"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `cxrclient archive …` with a key of patients."""
    monkeypatch.setenv("CXR_PATIENT_KEY", "a secret of this test")
    return lambda *words: CliRunner().invoke(app, ["archive", *map(str, words)])
