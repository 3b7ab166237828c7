"""Graphs that no engine is built of, and builds that are watched or stopped."""

from __future__ import annotations

import json

import onnx
import pytest
from typer.testing import CliRunner

from cxrclient.files import sha256_of
from cxrexport.cli.app import app
from cxrexport.engines.plans import build_engines
from cxrexport.engines.request import EngineRequest
from cxrexport.errors import EngineError, RepositoryError
from cxrexport.repository import Tensor
from engine_files import builder_of, small_graph

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")

pytestmark = pytest.mark.usefixtures("rtx")


def test_an_operation_that_tensorrt_does_not_know_is_named_with_its_node() -> None:
    with pytest.raises(EngineError, match=r"graph small: node the_node \(NoSuchOp\)"):
        builder_of(small_graph("NoSuchOp"))


@pytest.mark.parametrize("op_type", ["NoSuchOp", "Det"])  # unknown; of square matrices only
def test_an_operation_that_onnx_does_not_take_is_one_sentence(
    repository_copy, op_type: str
) -> None:
    path = repository_copy / "average" / "1" / "model.onnx"
    path.write_bytes(small_graph(op_type))
    recorded = json.loads((repository_copy / "repository.json").read_text())
    recorded["graphs"]["average"] = sha256_of(path)
    (repository_copy / "repository.json").write_text(json.dumps(recorded))
    command = ["engines", "--repository", str(repository_copy), "--films", "0"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "the graph average is no valid ONNX" in said
    assert "run `cxrexport build` again" in said


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ((2, 2), None, r"input x .* \(-1, 2, 3\); configured is FP32 \(-1, 2, 2\)"),
        ((2, 3), Tensor("y", "INT32", (2, 3)), "output y .*configured is INT32"),
        ((2, 3), Tensor("z", "FP32", (2, 3)), "output z .* is missing"),
    ],
)
def test_a_graph_that_disagrees_with_its_configuration_is_refused(x, y, says: str) -> None:
    with pytest.raises(EngineError, match=says):
        builder_of(small_graph(), x, y)


def test_progress_grows() -> None:
    told: list[float] = []
    builder_of(small_graph()).build(told.append)
    assert told == sorted(told)
    assert 0 < told[0] < 0.2 < 0.8 < told[-1] <= 1.0


def test_an_interrupt_ends_a_build() -> None:
    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        builder_of(small_graph()).build(interrupt)


def test_a_graph_other_than_recorded_is_not_built(repository_copy) -> None:
    path = repository_copy / "average" / "1" / "model.onnx"
    model = onnx.load(path)
    model.doc_string = "changed"
    path.unlink()
    path.write_bytes(model.SerializeToString())
    with pytest.raises(RepositoryError, match=r"average/.*`cxrexport check"):
        build_engines(EngineRequest(repository_copy))
