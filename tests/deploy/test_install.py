"""install.sh on a system whose Python has packages of Debian's own, with the real pip, offline.

Debian's Python looks in /usr/local first, where pip installs, and then where Debian's own packages
lie, which have no RECORD. A virtual environment with a second folder behind its own is like that.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TENSORRT = "10.14.1.48"


def write_wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """A package of one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += ["Provides-Extra: films", *(f"Requires-Dist: {each}" for each in requires)]
    files = {
        f"{name}.py": f"VERSION = '{version}'\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in (*files, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in files.items():
            wheel.writestr(file, content)
    return path


def unpack_as_debian(wheel: Path, folder: Path) -> None:
    """Put a package where Debian has its own, as Debian does: without a RECORD."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for record in folder.glob("*.dist-info/RECORD"):
        record.unlink()


class System:
    """A Python with Debian's own packages, a TensorRT, and an index of wheels beside it."""

    def __init__(self, folder: Path, script: Path, python: Path) -> None:
        self.wheels, self.debian = folder / "wheels", folder / "python/lib/python3/dist-packages"
        self.wheels.mkdir()
        shutil.copytree(python, folder / "python", symlinks=True)
        self.python = folder / "python/bin/python3"
        (self.local,) = (folder / "python/lib").glob("python3.*/site-packages")
        self.debian.mkdir(parents=True)
        (self.local / "debian.pth").write_text(f"{self.debian}\n")
        self.script = folder / "install/install.sh"
        self.script.parent.mkdir()
        shutil.copy(script, self.script)
        libraries = folder / "lib"
        libraries.mkdir()
        (libraries / "libnvinfer.so.10").symlink_to("libnvinfer.so.10.14.1")
        (libraries / "libnvinfer.so.10.14.1").touch()
        self.environment = {
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(libraries),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": "/dev/null",
            "TENSORRT": TENSORRT,
        }
        for name in ("tensorrt_cu13", "tensorrt_cu13_bindings"):
            write_wheel(self.wheels, name, TENSORRT)

    def install(self, wheel: Path) -> subprocess.CompletedProcess[str]:
        return self._run("sh", str(self.script), str(wheel))

    def pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(str(self.python), "-m", "pip", *arguments)

    def version(self, module: str) -> str:
        code = f"import {module} as m; from importlib.metadata import version as of"
        code += f"; print(m.VERSION, of('{module}'))"
        loaded, told = self._run(str(self.python), "-c", code).stdout.split()
        assert loaded == told
        return loaded

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with pip alone, to be copied: making one takes seconds."""
    folder = tmp_path_factory.mktemp("bare") / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


@pytest.fixture
def system(tmp_path: Path, deploy: Path, bare_python: Path) -> System:
    made = System(tmp_path, deploy / "docker/install.sh", bare_python)
    for name, old in (("owned", "1.0"), ("content", "1.5"), ("shared", "1.0")):
        write_wheel(made.wheels, name, "2.0")
        if name == "shared":
            assert made.pip("install", str(write_wheel(tmp_path, name, old))).returncode == 0
        else:
            unpack_as_debian(write_wheel(tmp_path, name, old), made.debian)
    (made.script.parent / "requirements.txt").write_text("owned\nshared\n")
    (made.script.parent / "constraints.txt").write_text("owned==2.0\nshared==2.0\n")
    return made


def test_a_package_of_debians_own_does_not_stop_the_installation(system, tmp_path) -> None:
    # What it would be without care:
    refused = system.pip("install", "owned==2.0")
    assert refused.returncode != 0
    assert "RECORD" in refused.stderr

    result = system.install(write_wheel(tmp_path, "cxr_triton", "0.1.0", "owned>=2", "content"))

    assert result.returncode == 0, result.stderr
    assert system.version("cxr_triton") == "0.1.0"
    assert system.version("owned") == "2.0"
    assert (system.debian / "owned.py").read_text() == "VERSION = '1.0'\n"  # Debian's stays


def test_only_what_pip_cannot_take_away_is_left_where_it_is(system, tmp_path) -> None:
    result = system.install(write_wheel(tmp_path, "cxr_triton", "0.1.0", "owned>=2", "content"))

    assert result.returncode == 0, result.stderr
    # One version of what pip had installed, files and metadata ...
    assert [path.name for path in system.local.glob("shared-*")] == ["shared-2.0.dist-info"]
    # ... and nothing in the place of what is good enough.
    assert system.version("content") == "1.5"
    assert not list(system.local.glob("content*"))


def test_a_second_run_changes_nothing(system, tmp_path) -> None:
    wheel = write_wheel(tmp_path, "cxr_triton", "0.1.0", "owned>=2", "content")
    assert system.install(wheel).returncode == 0
    before = sorted(path.name for path in system.local.iterdir())

    result = system.install(wheel)

    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in system.local.iterdir()) == before


def test_what_cannot_be_resolved_stops_the_installation_with_pips_words(system, tmp_path) -> None:
    result = system.install(write_wheel(tmp_path, "cxr_triton", "0.1.0", "nowhere"))

    assert result.returncode != 0
    assert "No matching distribution found for nowhere" in result.stderr
