"""Which TensorRT is taken, and what is said where none fits."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.engines import library
from cxrexport.engines.library import load_library
from cxrexport.engines.plans import build_engines
from cxrexport.engines.request import EngineRequest
from cxrexport.errors import EngineError

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")

pytestmark = pytest.mark.usefixtures("rtx")


def test_without_tensorrt_the_command_says_what_to_install(model_repository, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorrt")
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed")
    result = CliRunner().invoke(app, ["engines", "--repository", str(model_repository)])
    assert result.exit_code == 1
    assert "pip install 'tensorrt'" in " ".join(result.output.split())


def test_bindings_without_their_libraries_are_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "tensorrt.py").write_text(
        "raise ImportError('libnvinfer.so.10: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt")
    with pytest.raises(EngineError, match=r"does not load \(libnvinfer\.so\.10"):
        load_library()


@pytest.mark.parametrize(
    ("version", "of_system", "says"),
    [
        ("10.9.0.34", (), "too old"),
        ("10.14.1.48", ("10.13.3",), r"pip install 'tensorrt==10\.13\.3\.\*'"),
    ],
)
def test_another_tensorrt_than_the_servers_is_refused(
    monkeypatch, version, of_system, says
) -> None:
    monkeypatch.setattr(library, "tensorrt_versions", lambda: of_system)
    with pytest.raises(EngineError, match=says):
        library._require_servers_own(version)


@pytest.mark.parametrize("of_system", [("10.13.3",), (), ("10.12.0", "10.13.3")])
def test_the_servers_own_tensorrt_or_an_unknown_one_is_taken(monkeypatch, of_system) -> None:
    monkeypatch.setattr(library, "tensorrt_versions", lambda: of_system)
    library._require_servers_own("10.13.3.9")


def test_a_plan_for_fewer_films_than_the_server_sends_is_refused(model_repository) -> None:
    with pytest.raises(EngineError, match="leave --max-batch out"):
        build_engines(EngineRequest(model_repository, max_batch=8))
