"""One archive, one patient key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cxrclient.archive.index import SimilarityIndex
from cxrclient.cli.app import app
from cxrclient.runs.archiving import archive_films
from cxrclient.wire.client import CxrClient
from secrets_of_a_patient import (
    KEY,
)


def test_an_archive_takes_one_patient_key_alone_and_what_is_made_of_it_is_its_owners(
    drawn_film: Any, write_dicom: Any, triton_server: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Under another key the patient's other film would be a stranger's, and the nearest."""
    one, other = (
        str(write_dicom(tmp_path / f"{n}.dcm", drawn_film(seed=n), PatientID="4711"))
        for n in range(2)
    )
    monkeypatch.setenv("CXR_SERVER", triton_server.grpc_address)
    uri, copy = str(tmp_path / "cxr.db"), str(tmp_path / "copy.db")

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, [*words, "--uri", uri])

    monkeypatch.setenv("CXR_PATIENT_KEY", KEY.decode())
    assert run("index", one, "--no-gate").exit_code == 0
    found = run("similar", other, "--no-gate", "--format", "jsonl")
    assert json.loads(found.stdout)["neighbours"] == []
    assert run("archive", "export", str(tmp_path / "cxr.parquet")).exit_code == 0
    page = tmp_path / "page.html"
    assert run("report", other, "--no-gate", "--html", str(page)).exit_code == 0
    # What was made is the owner's alone; what was there keeps its mode.
    made = (Path(uri), tmp_path / "cxr.parquet", page)
    assert {path.name: path.stat().st_mode & 0o777 for path in made} == dict.fromkeys(
        ("cxr.db", "cxr.parquet", "page.html"), 0o600
    )
    page.chmod(0o640)
    assert run("report", other, "--no-gate", "--html", str(page)).exit_code == 0
    assert page.stat().st_mode & 0o777 == 0o640

    monkeypatch.setenv("CXR_PATIENT_KEY", "another key of this test")
    refused = run("index", other, "--no-gate")
    assert (refused.exit_code, "KEY_MISMATCH" in refused.stderr) == (2, True), refused.output
    doubted = run("similar", other, "--no-gate", "--format", "jsonl")
    assert "Other films of this patient are not recognised" in doubted.stderr
    uri = copy  # which has the key of where its films come from
    assert run("archive", "import", str(tmp_path / "cxr.parquet")).exit_code == 0
    assert "KEY_MISMATCH" in run("index", other, "--no-gate").stderr


def test_an_archive_from_before_there_was_a_key_to_compare_works_as_it_did(
    triton_server: Any, tmp_path: Path
) -> None:
    with (
        CxrClient(triton_server.grpc_address, gate=False) as cxr,
        SimilarityIndex(tmp_path / "old.db", model_digest=cxr.model.digest) as index,
    ):
        index.add(["1.2.3"], np.ones((1, 128), np.float32), [{}])
        for key in (KEY, b"another key of this test"):
            assert list(archive_films(cxr, index, [], metadata={}, key=key)) == []
        assert index.key_check() is None
