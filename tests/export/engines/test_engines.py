"""What is in plans that TensorRT-RTX built in TensorRT's place, and in their passports."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from cxrclient.files import sha256_of
from cxrclient.serving.passports import read_passport
from cxrexport.cli.app import app
from cxrexport.engines import plans
from cxrexport.engines.films import parity_films
from cxrexport.engines.library import load_library
from cxrexport.engines.plans import build_engines
from cxrexport.ensemble import OnnxGraphs
from cxrexport.repository import Tensor, read_repository
from cxrexport.repository.configs import parse
from engine_files import GRAPHS, builder_of, edges_in, missing, small_graph

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")

pytestmark = pytest.mark.usefixtures("rtx")


def times_in(engine: bytes, shape: tuple[int, ...]) -> int:
    """How often a shape stands in a serialized engine, as its profile writes it."""
    return engine.count(struct.pack(f"<{len(shape)}q", *shape))


def test_what_is_read_from_an_engine_is_what_it_was_built_with() -> None:
    engine = builder_of(small_graph()).build()
    assert edges_in(engine) == {"x": ("TYPE_FP32", (2, 3)), "y": ("TYPE_FP32", (2, 3))}
    assert [times_in(engine, (batch, 2, 3)) for batch in (1, 2, 3, 4)] == [1, 1, 0, 1]
    whole = builder_of(
        small_graph("Cast", to=TensorProto.INT32), y=Tensor("y", "INT32", (2, 3)), preferred=3
    ).build()
    assert edges_in(whole)["y"] == ("TYPE_INT32", (2, 3))
    assert [times_in(whole, (batch, 2, 3)) for batch in (1, 2, 3, 4)] == [1, 0, 1, 1]


@pytest.mark.parametrize("graph", GRAPHS)
def test_an_engines_inputs_and_outputs_are_those_of_config_pbtxt(six_plans, graph: str) -> None:
    request, _ = six_plans
    engine = request.engine(graph).read_bytes()
    config = parse((request.repository / graph / "config.pbtxt").read_text())
    configured = {
        tensor.name: (type(config).DESCRIPTOR.file.enum_types_by_name["DataType"]
                      .values_by_number[tensor.data_type].name, tuple(tensor.dims))
        for tensor in [*config.input, *config.output]
    }  # fmt: skip
    assert edges_in(engine) == configured
    for tensor in config.input:
        same = sum(tuple(other.dims) == tuple(tensor.dims) for other in config.input)
        dims = tuple(tensor.dims)
        assert times_in(engine, (1, *dims)) == same  # the smallest
        assert times_in(engine, (config.max_batch_size, *dims)) == 2 * same  # preferred, largest


def test_a_passport_says_what_its_engine_is(six_plans) -> None:
    request, done = six_plans
    assert list(done.built) == list(GRAPHS)
    spec, hashes, _ = read_repository(request.repository)
    for graph in GRAPHS:
        passport = read_passport(request.passport(graph))
        assert passport == done.passports[graph]
        assert passport.engine_sha256 == sha256_of(request.engine(graph))
        assert passport.onnx_sha256 == hashes[graph]
        assert passport.network_sha256 != hashes[graph] or graph == "average"
        assert (passport.architecture, passport.gpu) == ("current", "NVIDIA L4")
        assert (passport.precision, passport.compute_capability) == ("fp16", "8.9")
        assert passport.tensorrt_version == load_library().version
        inputs = {tensor.name: tensor.dims for tensor in spec.edges(graph).inputs}
        assert {name: shapes["max"] for name, shapes in passport.profile.items()} == {
            name: [spec.max_batch_size, *dims] for name, dims in inputs.items()
        }


class GraphsInPlaceOfEngines(OnnxGraphs):
    """What answers where no GPU runs engines: the fp32 graphs in the folders of the plans."""

    def __init__(self, engines: dict[str, Path]) -> None:
        self.engines = engines

    def __enter__(self) -> OnnxGraphs:
        return OnnxGraphs(
            {g: p.with_name("model.onnx").read_bytes() for g, p in self.engines.items()}
        )

    def __exit__(self, *error: object) -> None:
        pass


def test_passports_hold_what_was_measured_on_films_with_which_engines(
    plans_copy, monkeypatch
) -> None:
    missing(plans_copy)
    monkeypatch.setattr(plans, "EngineGraphs", GraphsInPlaceOfEngines)
    spec = read_repository(plans_copy.repository)[0].preprocessing
    passports = build_engines(plans_copy, lambda: parity_films(spec, 2)).passports
    for passport in passports.values():
        assert passport.parity_engines == {g: p.engine_sha256 for g, p in passports.items()}
        assert passport.parity is not None
        assert passport.parity.probability == 0.0
        assert (passport.parity_reason, passport.emulated_parity_reason) == (None, None)
        emulation = passport.emulated_parity
        assert emulation is not None
        assert emulation.passed
        assert 0 < emulation.probability < 5e-3  # rounding was measured, not fp32 against itself
        assert emulation.films == 2
        assert emulation.complete


LEFT = [["--flavour", "tensorrt-rtx"], ["--arch", "sm89"], ["--output", "engines"]]


@pytest.mark.parametrize("words", LEFT, ids=lambda words: words[0])
def test_engines_that_triton_cannot_load_are_not_built(repository_copy, words: list[str]) -> None:
    command = ["engines", "--repository", str(repository_copy), *words]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert words[0] in result.output
