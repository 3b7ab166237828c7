"""What `cxrexport check` says of a repository's files, `doctor` says, and `serve` refuses."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrclient.errors import ServeFailed
from cxrclient.serving import EmbeddedServer
from linked_copy import linked_copy
from stand_in_plans import examine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")


@pytest.fixture
def repository(model_repository: Path, tmp_path: Path) -> Path:
    """A copy whose files are shared (never written into)."""
    return linked_copy(model_repository, tmp_path / "repository")


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    put(path, text.replace(old, new))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a step is missing": (
        lambda r: (r / "preprocess/1/model.py").unlink(),
        "preprocess/1/model.py",
    ),
    "a step of somebody else": (
        lambda r: put(r / "preprocess/1/model.py", "raise RuntimeError('x')\n"),
        "preprocess/1/model.py",
    ),
    "an edited reference": (
        lambda r: edit(r / "admission/1/reference.json", '"farthest": ', '"farthest": 1'),
        "admission/1/reference.json",
    ),
    "the reference is missing": (
        lambda r: (r / "admission/1/reference.json").unlink(),
        "admission/1/reference.json",
    ),
    "an edited configuration": (
        lambda r: edit(r / "vgg16/config.pbtxt", "max_batch_size: 16", "max_batch_size: 3"),
        "vgg16/config.pbtxt",
    ),
    "a model of another repository": (
        lambda r: put(r / "densenet/config.pbtxt", 'name: "densenet"'),
        "densenet",
    ),
    "a configuration that Triton would prefer": (
        lambda r: put(r / "preprocess/configs/cpu.pbtxt", ""),
        "preprocess/configs/cpu.pbtxt",
    ),
    "another graph": (
        lambda r: put(r / "vgg16/1/model.onnx", "another"),
        "vgg16/1/model.onnx",
    ),
    "a digest of something else": (
        lambda r: edit(r / "repository.json", '"model_digest": "3442', '"model_digest": "4442'),
        "repository.json",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_all_three_name_what_is_not_as_it_was_built(repository: Path, damage: str) -> None:
    check = pytest.importorskip("cxrexport.repository").check_repository
    act, file = DAMAGE[damage]
    act(repository)
    assert file in {fault.file for fault in check(repository, open_graphs=False)}
    code, checks = examine(repository)
    assert (code, checks["repository"][0]["verdict"]) == (1, "wrong")
    assert file in checks["repository"][0]["finding"]
    with pytest.raises(ServeFailed, match=f": {file} .*`cxrclient doctor`"):
        EmbeddedServer(repository, device="cpu")


def test_a_repository_without_a_record_is_served_and_that_is_said(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (repository / "repository.json").unlink()
    _, checks = examine(repository)
    assert checks["repository"][0]["verdict"] == "wrong"
    with caplog.at_level(logging.WARNING, "cxrclient"):
        EmbeddedServer(repository, device="cpu")
    assert "has no repository.json: nothing tells whether" in caplog.text


@pytest.fixture
def old_repository(repository: Path) -> Path:
    """As before generated files and the embedder were recorded."""
    record = json.loads((repository / "repository.json").read_text())
    del record["files"], record["embedder"]
    put(repository / "repository.json", json.dumps(record))
    return repository


def test_a_step_that_is_missing_is_named_whatever_the_record_lists(old_repository: Path) -> None:
    step = "preprocess/1/model.py"
    (old_repository / step).unlink()
    assert examine(old_repository)[0] == 1
    with pytest.raises(ServeFailed, match=f": {step} is missing"):
        EmbeddedServer(old_repository, device="cpu")


def test_of_a_record_without_files_the_doctor_says_what_it_cannot_know(
    old_repository: Path,
) -> None:
    _, checks = examine(old_repository)
    assert checks["repository"][0]["verdict"] == "ok"
    assert "configurations and steps are not recorded" in checks["repository"][0]["finding"]
    EmbeddedServer(old_repository, device="cpu")
