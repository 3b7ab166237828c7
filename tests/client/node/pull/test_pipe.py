"""`cxrclient pull … | cxrclient predict --files-from - …`: real PACS, real server, real pipe."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

from served import CXRCLIENT


def piped(filled, folder, *second: object, environment: dict[str, str]):
    """Pull three days and give the paths to a second command, as a shell does."""
    pull = ["pull", "--pacs", filled.url, "--from", "2020-01-01", "--to", "2020-01-03", folder]
    commands = [shlex.join(map(str, [CXRCLIENT, *words])) for words in (pull, second)]
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", " | ".join(commands)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def test_into_predict_and_again_into_index(filled, triton_server, tmp_path):
    folder, results = tmp_path / "films of january", tmp_path / "r.jsonl"
    wanted = {str(film.path(folder)) for film in filled.of("2020-01-01", "2020-01-03")}
    environment = {
        "CXR_SERVER": triton_server.grpc_address,
        "CXR_PATIENT_KEY": "a key for these tests only",
    }

    predicted = piped(
        filled, folder, "predict", "--files-from", "-", "--no-gate", "--output", results,
        environment=environment,
    )  # fmt: skip
    assert predicted.returncode == 0, predicted.stderr
    lines = list(map(json.loads, results.open()))
    assert {line["path"] for line in lines} == wanted
    assert {line["status"] for line in lines} == {"ok"}

    indexed = piped(
        filled, folder, "index", "--files-from", "-", "--no-gate", "--uri", tmp_path / "cxr.db",
        environment=environment,
    )  # fmt: skip
    assert indexed.returncode == 0, indexed.stderr
    assert "4 were there already" in indexed.stderr
    assert "4 added" in indexed.stdout + indexed.stderr
