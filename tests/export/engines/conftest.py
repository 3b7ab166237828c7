"""The committed repository, and its six engines for one GPU that is not here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cxrexport.engines.build import EnginesBuilt, build_engines
from cxrexport.engines.films import parity_films
from cxrexport.engines.request import EngineRequest
from cxrexport.repository import read_repository


@pytest.fixture(scope="session")
def rtx_engines(model_repository: Path, tmp_path_factory) -> tuple[EngineRequest, EnginesBuilt]:
    """All six in fp16 for SM89, built by TensorRT-RTX on this CPU."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")
    # A copy, because a builder holds its repository: two test runs in one checkout would meet.
    repository = tmp_path_factory.mktemp("engines") / "model_repository"
    shutil.copytree(model_repository, repository)
    spec = read_repository(repository)[0].preprocessing
    request = EngineRequest(
        repository, "tensorrt-rtx", "sm89", output=tmp_path_factory.mktemp("rtx")
    )
    return request, build_engines(request, lambda: parity_films(spec, 2))


@pytest.fixture
def engines_copy(rtx_engines, tmp_path) -> EngineRequest:
    """The same engines in a folder that a test may change."""
    request, _ = rtx_engines
    folder = tmp_path / "engines"
    shutil.copytree(request.output, folder)
    return EngineRequest(request.repository, "tensorrt-rtx", "sm89", output=folder)


@pytest.fixture
def repository_copy(model_repository: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    target = tmp_path / "repository"
    shutil.copytree(model_repository, target)
    return target
