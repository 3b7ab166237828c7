"""Which tritonserver is taken, and what is said where none fits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrclient.errors import ServeFailed
from cxrclient.serving import tritonserver
from cxrclient.serving.embedded import EmbeddedServer
from served import Serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")


def test_a_tritonserver_on_path_is_taken_before_the_packages(
    tiny_repository: Path, tmp_path: Path, serve: Callable[..., Serving]
) -> None:
    package = tritonserver.find_installation()
    root = tmp_path / "opt"
    for source, target in (
        (package.binary, root / "bin" / "tritonserver"),
        (package.stub, root / "backends" / "python" / tritonserver.STUB),
        *((file, root / "backends" / "python" / file.name) for file in _python_backend(package)),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    serving = serve(
        tiny_repository,
        PATH=f"{root / 'bin'}:{os.environ['PATH']}",
        LD_LIBRARY_PATH=":".join(map(str, package.libraries)),
    )
    serving.wait_ready()
    running = Path(f"/proc/{serving.pid_of('tritonserver')}/exe").resolve()
    assert running == (root / "bin" / "tritonserver").resolve()


def _python_backend(package: tritonserver.Installation) -> list[Path]:
    return [f for f in (package.backends / "python").iterdir() if f.suffix in (".so", ".py")]


def test_a_tritonserver_whose_stub_is_of_another_python_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = tritonserver.find_installation()
    stubs = package.stub.parents[1]
    other = next(stub for stub in stubs.glob(f"*/{tritonserver.STUB}") if stub != package.stub)
    binary = tmp_path / "bin" / "tritonserver"
    stub = tmp_path / "backends" / "python" / tritonserver.STUB
    for source, target in ((package.binary, binary), (other, stub)):
        target.parent.mkdir(parents=True)
        shutil.copy2(source, target)
    monkeypatch.setenv("PATH", str(binary.parent), prepend=":")
    assert tritonserver.find_installation() == package
    assert f"runs Python {other.parent.name}" in caplog.text


def test_a_missing_libpython_is_named_with_its_apt_package() -> None:
    package = tritonserver.find_installation()
    bare = {"LD_LIBRARY_PATH": str(package.libraries[0])}
    for stub in sorted(package.stub.parents[1].glob(f"*/{tritonserver.STUB}")):
        candidate = tritonserver.Installation(package.binary, package.backends, stub)
        linked = subprocess.run(
            ["ldd", stub], capture_output=True, text=True, env=bare, check=True
        ).stdout
        missing = re.search(r"(libpython3\.\d+)\S* => not found", linked)
        if missing is not None:
            with pytest.raises(ServeFailed, match=rf"apt install {re.escape(missing[1])}$"):
                tritonserver.require_loadable(candidate, bare)
            return
    pytest.skip("this system has the library of every Python that Triton brings a stub for")


def test_a_fitting_libpython_is_accepted() -> None:
    package = tritonserver.find_installation()
    tritonserver.require_loadable(package, tritonserver.server_environment(package))


def test_other_systems_are_told_where_the_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # No Mac at hand: the one fact that differs there is replaced.
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(ServeFailed, match=r"Linux x86-64.* Darwin arm64; the client works here"):
        EmbeddedServer()


def test_no_server_at_all_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ServeFailed, match=r"run `pip install '\.\[serve\]'` in a checkout"):
        tritonserver.find_installation()
