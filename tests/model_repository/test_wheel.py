"""The built wheel is whole: repository and backend travel in it, and it serves anywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny_repository

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "client", "export", "deploy")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only"),
]


@pytest.fixture(scope="module")
def wheel(model_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from copied sources around whatever repository the session serves."""
    checkout = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__", "*.part")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, checkout / name)
    shutil.copytree(model_repository, checkout / "model_repository", ignore=ignored)
    tiny_repository.write(checkout / "deploy" / "repositories" / "tiny")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "dist"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=checkout, check=True)
    return next((checkout / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `python` and `cxrclient` of a new environment lie: the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    options = ["--quiet", "--constraint", str(ROOT / "constraints.txt")]
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", *options, f"{wheel}[serve]"], check=True)
    return python.parent


def test_the_wheel_holds_the_repository_and_the_backend(
    wheel: Path, model_repository: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for file in model_repository.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            name = f"cxrclient/data/model_repository/{file.relative_to(model_repository)}"
            assert name in names
    shipped = ("cxr/config.pbtxt", "identity/1/model.onnx", "identity/configs/cpu.pbtxt")
    assert {f"cxrclient/data/repositories/tiny/{file}" for file in shipped} <= names
    assert "cxrclient/data/backends/openvino/model.py" in names
    assert "cxrclient/data/systemd/cxr-triton.service" in names
    assert "cxrexport/preprocessing/triton_step.py" in names


def test_the_installed_wheel_serves_one_film_outside_the_checkout(
    programs: Path,
    model_repository: Path,
    real_film: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    command = [programs / "cxrclient", "serve", "--device", "cpu"]
    ports = [option for name in ("grpc", "http", "metrics") for option in (f"--{name}-port", "0")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    where = {"cwd": tmp_path, "env": kept, "text": True}
    serving = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, **where)
    try:
        assert serving.stdout is not None
        ready = re.match(r"Ready: gRPC (\S+),", serving.stdout.readline())
        assert ready is not None
        predict = [
            programs / "cxrclient",
            "predict",
            real_film("RG1_UNCR.dcm"),
            "--format",
            "jsonl",
        ]
        done = subprocess.run(
            [*predict, "--server", ready[1]], capture_output=True, check=False, **where
        )
        code = "import cxrclient, cxrclient.serving as s; print(cxrclient.__file__)"
        code += "; print(*s.shipped_repositories()); print(*s.shipped_repositories().values())"
        place = subprocess.run(
            [programs / "python", "-c", code], capture_output=True, check=True, **where
        )
    finally:
        serving.terminate()
        serving.communicate()
    assert done.returncode == 0, done.stderr
    film = json.loads(done.stdout)
    manifest = json.loads((model_repository / "repository.json").read_text())
    assert (film["status"], film["model"]["digest"]) == ("ok", manifest["model_digest"])
    package, shipped, folders = place.stdout.splitlines()
    assert Path(package).is_relative_to(programs.parent)
    assert {"starter", "tiny"} <= set(shipped.split())
    assert all(Path(each).is_relative_to(programs.parent) for each in folders.split())
    assert serving.returncode == 0
