"""Plans of the committed repository, built by TensorRT-RTX in TensorRT's place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import rtx_in_place
from cxrexport.engines.plans import EnginesBuilt, build_engines
from cxrexport.engines.request import EngineRequest


@pytest.fixture
def rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX stands in for TensorRT during the test."""
    rtx_in_place.put(monkeypatch)


@pytest.fixture(scope="session")
def six_plans(
    model_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[EngineRequest, EnginesBuilt]]:
    """All six in fp16, in a copy of the repository: a builder holds its repository."""
    repository = tmp_path_factory.mktemp("engines") / "model_repository"
    shutil.copytree(model_repository, repository)
    request = EngineRequest(repository)
    with pytest.MonkeyPatch.context() as monkeypatch:
        rtx_in_place.put(monkeypatch)
        built = build_engines(request)
    return request, built


@pytest.fixture
def plans_copy(six_plans, rtx: None, tmp_path: Path) -> EngineRequest:
    """The same plans in a repository whose plans and passports a test may change."""
    folder = tmp_path / "repository"
    shutil.copytree(six_plans[0].repository, folder, copy_function=_copy_but_graphs)
    return EngineRequest(folder)


def _copy_but_graphs(source: str, target: str) -> None:
    """Copy a file; a graph is large, and no test writes to it, so it is linked."""
    (os.link if source.endswith(".onnx") else shutil.copy2)(source, target)


@pytest.fixture
def repository_copy(model_repository: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    target = tmp_path / "repository"
    shutil.copytree(model_repository, target)
    return target
