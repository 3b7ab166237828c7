"""Plans and engines on a GPU: built, loaded, run, compared. Skipped where there is none."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrclient.cli.app import app as client
from cxrclient.serving.machine import gpus
from cxrclient.serving.passports import read_passport
from cxrexport.cli.app import app
from cxrexport.engines.library import load_library
from cxrexport.engines.plans import build_engines
from cxrexport.engines.request import EngineRequest
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.repository import check_repository, read_repository

GRAPHS = graphs_of(DEFAULT_MEMBERS)

GPUS = gpus()

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not GPUS, reason="no NVIDIA GPU that nvidia-smi tells of"),
]
needs_tensorrt = pytest.mark.skipif(
    bool(GPUS) and importlib.util.find_spec("tensorrt") is None,
    reason="tensorrt is not installed",
)


@needs_tensorrt
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_plans_are_built_verified_and_kept(repository_copy: Path, precision: str) -> None:
    command = ["engines", "--repository", str(repository_copy), "--precision", precision]
    command += ["--films", "4"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    for graph in GRAPHS:
        passport = read_passport(repository_copy / graph / "1" / "engine.json")
        assert passport.parity is not None
        assert passport.parity.passed
        assert passport.compute_capability == GPUS[0].compute_capability
    assert check_repository(repository_copy) == []
    timing = repository_copy.with_name("repository.engines")
    assert [path.suffix for path in timing.iterdir()] == [".cache"]
    again = CliRunner().invoke(app, command)
    assert again.output.count("kept") == len(GRAPHS), again.output
    told = CliRunner().invoke(
        client, ["doctor", "--model-repository", str(repository_copy), "--format", "json"]
    )
    checks = json.loads(told.stdout)["checks"]
    plans = [check for check in checks if check["subject"].endswith("model.plan")]
    assert [check["verdict"] for check in plans] == ["ok"] * len(GRAPHS), plans


@needs_tensorrt
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_plans_inputs_outputs_and_profile_are_the_configured_ones(
    gpu_plans: EngineRequest, graph: str
) -> None:
    trt = load_library()
    runtime = trt.module.Runtime(trt.log)
    engine = runtime.deserialize_cuda_engine(gpu_plans.engine(graph).read_bytes())
    spec = read_repository(gpu_plans.repository)[0]
    edges = spec.edges(graph)
    found = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        found[name] = (engine.get_tensor_dtype(name).name, tuple(engine.get_tensor_shape(name)))
    types = {"FP32": "FLOAT", "INT32": "INT32"}
    assert found == {
        tensor.name: (types[tensor.dtype], (-1, *tensor.dims))
        for tensor in (*edges.inputs, *edges.outputs)
    }
    for tensor in edges.inputs:
        shapes = [tuple(shape) for shape in engine.get_tensor_profile_shape(tensor.name, 0)]
        most = spec.max_batch_size
        assert shapes == [(batch, *tensor.dims) for batch in (1, most, most)]


@pytest.fixture(scope="module")
def gpu_plans(model_repository: Path, tmp_path_factory) -> EngineRequest:
    import shutil

    copy = tmp_path_factory.mktemp("gpu") / "repository"
    shutil.copytree(model_repository, copy)
    request = EngineRequest(copy)
    build_engines(request)
    return request
