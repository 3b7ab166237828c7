"""The built wheel is whole: repository and backend travel in it, and it serves anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "dist"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=checkout, check=True)
    return next((checkout / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    return target


def test_the_wheel_holds_the_repository_and_the_backend(
    wheel: Path, model_repository: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for file in model_repository.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            name = f"cxrclient/data/model_repository/{file.relative_to(model_repository)}"
            assert name in names
    assert "cxrclient/data/backends/openvino/model.py" in names
    assert "cxrexport/repository/triton_preprocess.py" in names


def test_the_installed_wheel_serves_outside_the_checkout(
    installed: Path, model_repository: Path, tmp_path: Path
) -> None:
    program = (
        "import json, cxrclient, cxrexport\n"
        "from cxrclient.embedded import EmbeddedServer\n"
        "with EmbeddedServer(device='cpu') as server:\n"
        "    model = server.wait_ready()\n"
        "    print(json.dumps([cxrclient.__file__, cxrexport.__file__,\n"
        "        str(server.repository), model.digest]))\n"
    )
    # First on the import path, before the editable installation of the checkout.
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    *paths, digest = json.loads(result.stdout)
    assert all(Path(path).is_relative_to(installed) for path in paths), paths
    manifest = json.loads((model_repository / "repository.json").read_text())
    assert digest == manifest["model_digest"]
