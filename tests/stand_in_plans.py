"""Small files that stand for TensorRT plans, with passports as `cxrexport engines` writes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrclient.cli.app import app
from cxrclient.serving.passports import Parity, Passport

GRAPHS = ("segment", "resnet34", "resnet50", "resnet152", "vgg16", "average")

L4 = "NVIDIA L4, 8.9, 580.95.05"

GOOD = Parity(20, 6e-4, 9e-4, 0.99999, 8e-3, 6e-3, 0, 0.9995, 0, 1)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def plan_content(graph: str) -> bytes:
    return f"stands for the engine of {graph}".encode()


ENGINES = {graph: sha256(plan_content(graph)) for graph in GRAPHS}


def add_plan(repository: Path, graph: str, flavour: str = "tensorrt", **changes: Any) -> None:
    """A plan built on an L4 by TensorRT 10.13.3 and found good, but for the changes."""
    folder = repository / graph / "1"
    (folder / "model.plan").write_bytes(plan_content(graph))
    facts: dict[str, Any] = {
        "graph": graph,
        "engine_sha256": ENGINES[graph],
        "onnx_sha256": sha256((folder / "model.onnx").read_bytes()),
        "network_sha256": "",
        "tensorrt_version": "10.13.3.9",
        "architecture": "current",
        "compute_capability": "8.9",
        "gpu": "NVIDIA L4",
        "precision": "fp16",
        "profile": {},
        "max_batch": 16,
        "engine_bytes": 30,
        "build_s": 60.0,
        "built_at": "2026-01-01T00:00:00+00:00",
        "parity": GOOD,
        "parity_engines": ENGINES,
        **changes,
    }
    content = json.loads(Passport(**facts).to_json()) | {"flavour": flavour}
    (folder / "engine.json").write_text(json.dumps(content))


def examine(repository: Path, *options: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code, and the checks by subject."""
    command = ["doctor", "--model-repository", str(repository), "--format", "json", *options]
    result = CliRunner().invoke(app, command)
    found: dict[str, list[dict[str, Any]]] = {}
    for check in json.loads(result.stdout)["checks"]:
        found.setdefault(check["subject"], []).append(check)
    if "--server" not in options and found["server localhost:8001"][0]["verdict"] != "note":
        pytest.skip("a server of somebody else's answers at localhost:8001")
    return result.exit_code, found


def plan_check(checks: dict[str, list[dict[str, Any]]], graph: str) -> dict[str, Any]:
    (check,) = checks[f"{graph}/1/model.plan"]
    return check
