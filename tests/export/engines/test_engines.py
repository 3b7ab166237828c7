"""Plans of the committed repository, built on the CPU by TensorRT-RTX (see rtx_in_place.py).

Loading one needs a GPU. Without it its inputs and outputs are read from the serialized
engine itself (`edges_in`), whose layout is TensorRT-RTX 1.7's and documented nowhere: each tensor
has its name, its type and its shape in a record of its own. That the reading is right is shown on
engines that differ in one of them.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import resource
import struct
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

import rtx_in_place
from cxrclient.files import sha256_of
from cxrclient.serving.machine import has_nvidia_gpu
from cxrclient.serving.passports import Parity, read_passport
from cxrexport.cli.app import app
from cxrexport.engines import build, library
from cxrexport.engines.build import _require_bars, build_engines
from cxrexport.engines.builder import GraphBuilder, Profile
from cxrexport.engines.films import parity_films
from cxrexport.engines.library import load_library, resolve_target
from cxrexport.engines.request import EngineRequest
from cxrexport.ensemble import DEFAULT_MEMBERS, EngineGraphs, OnnxGraphs, graphs_of
from cxrexport.errors import EngineError, RepositoryError
from cxrexport.repository import Edges, Tensor, read_repository
from cxrexport.repository.configs import parse

GRAPHS = graphs_of(DEFAULT_MEMBERS)

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx-cu13 is not installed")
pytestmark = pytest.mark.usefixtures("rtx")

without_gpu = pytest.mark.skipif(has_nvidia_gpu(), reason="there is a GPU, which loads engines")

TYPES = {0: "TYPE_FP32", 3: "TYPE_INT32"}  # nvinfer1::DataType
_TENSOR = re.compile(
    rb"(?P<name>\w+)\x1c\x80\x01\x00\x03\x80\x01\x00\x00"
    rb"\x0d\x80\x01\x00\x07\x80\x01\x00(?P<type>.{4}).{80,160}?"
    rb"\x59\x80\x01\x00\x07\x80\x01\x00(?P<rank>.{4})\x01\x80\x09\x80\x01\x00.{8}",
    re.DOTALL,
)


def edges_in(engine: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name → type and dims without the batch axis, of a serialized engine's inputs and outputs."""
    found = {}
    for match in _TENSOR.finditer(engine):
        kind, rank = (struct.unpack("<i", match[field])[0] for field in ("type", "rank"))
        _, *dims = struct.unpack_from(f"<{rank}q", engine, match.end())  # the batch axis is free
        found[match["name"].decode()] = (TYPES[kind], tuple(dims))
    return found


def times_in(engine: bytes, shape: tuple[int, ...]) -> int:
    """How often a shape stands in a serialized engine, as its profile writes it."""
    return engine.count(struct.pack(f"<{len(shape)}q", *shape))


def small_graph(op_type: str = "Relu", **attributes: int) -> bytes:
    """One operation between x, float32 [batch, 2, 3], and y, of the type that it is cast to."""
    node = helper.make_node(op_type, ["x"], ["y"], "the_node", **attributes)
    shape = ["batch", 2, 3]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", attributes.get("to", TensorProto.FLOAT), shape)
    graph = helper.make_graph([node], "small", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def builder_of(
    model: bytes, x: tuple[int, ...] = (2, 3), y: Tensor | None = None, preferred: int = 2
) -> GraphBuilder:
    """A builder for SM89, of a graph that is configured to take x and to give y."""
    edges = Edges((Tensor("x", "FP32", x),), (y or Tensor("y", "FP32", (2, 3)),))
    profile = Profile(preferred, 4)
    return GraphBuilder(load_library(), resolve_target("current"), "small", model, edges, profile)


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
    monkeypatch.setattr(build, "EngineGraphs", GraphsInPlaceOfEngines)
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


def test_engines_that_fit_are_kept(six_plans) -> None:
    request, _ = six_plans
    before = {graph: request.engine(graph).stat().st_mtime_ns for graph in GRAPHS}
    assert build_engines(request).built == {}
    assert {graph: request.engine(graph).stat().st_mtime_ns for graph in GRAPHS} == before


def of_an_older_graph(request: EngineRequest) -> None:
    edit_passport(request, onnx_sha256="0" * 64)


def of_another_tensorrt(request: EngineRequest) -> None:
    edit_passport(request, tensorrt_version="10.12.0.1")


def of_another_architecture(request: EngineRequest) -> None:
    edit_passport(request, architecture="ampere+")


def of_tensorrt_rtx(request: EngineRequest) -> None:
    path = request.passport("average")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"flavour": "tensorrt-rtx"}))


def another_file(request: EngineRequest) -> None:
    request.engine("average").write_bytes(b"half an engine")


def without_a_passport(request: EngineRequest) -> None:
    request.passport("average").unlink()


def with_a_damaged_passport(request: EngineRequest) -> None:
    request.passport("average").write_text('{"format": 1, "parity": null}')


def missing(request: EngineRequest) -> None:
    request.engine("average").unlink()


def edit_passport(request: EngineRequest, **values: str | int) -> None:
    path = request.passport("average")
    path.write_text(replace(read_passport(path), **values).to_json())


MISFITS = {
    of_an_older_graph: "another graph",
    of_another_tensorrt: "TensorRT version is 10.12.0.1",
    of_another_architecture: "architecture is ampere+",
    of_tensorrt_rtx: "its passport is of a tensorrt-rtx engine, which Triton cannot load",
    another_file: "not the file",
    without_a_passport: "passport is missing",
    with_a_damaged_passport: "cannot be read",
    missing: "missing",
}


@pytest.mark.parametrize("damage", MISFITS, ids=lambda damage: damage.__name__)
def test_only_the_engine_that_does_not_fit_is_built_again(plans_copy, damage) -> None:
    damage(plans_copy)
    done = build_engines(plans_copy)
    assert list(done.built) == ["average"]
    assert MISFITS[damage] in done.built["average"]
    assert build_engines(plans_copy).built == {}


def test_what_a_killed_build_left_is_gone_after_the_next_run(plans_copy) -> None:
    left = plans_copy.engine("average").with_name("model.plan.part")
    left.write_bytes(b"half")
    assert build_engines(plans_copy).built == {}
    assert not left.exists()


def files_of(request: EngineRequest) -> dict[Path, bytes]:
    """Every plan and passport, and whatever else lies beside them but the graphs."""
    files = request.repository.glob("*/1/*")
    return {path: path.read_bytes() for path in files if path.suffix not in (".onnx", ".py")}


@contextmanager
def disk_full_after(size: int):
    """Let no file of this process grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_leaves_what_was_there_and_nothing_else(plans_copy) -> None:
    edit_passport(plans_copy, onnx_sha256="0" * 64)
    before = files_of(plans_copy)
    with disk_full_after(100_000), pytest.raises(EngineError, match="make room there"):
        build_engines(plans_copy)
    assert files_of(plans_copy) == before


def test_a_disk_that_is_full_when_the_passports_are_written_changes_no_engine(
    plans_copy, monkeypatch
) -> None:
    edit_passport(plans_copy, onnx_sha256="0" * 64)
    before = files_of(plans_copy)
    with_engine = build._build_one

    def then_full(*arguments):
        try:
            return with_engine(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))

    monkeypatch.setattr(build, "_build_one", then_full)
    with disk_full_after(10**9), pytest.raises(EngineError, match="make room there"):
        build_engines(plans_copy)
    assert files_of(plans_copy) == before


def test_two_builders_of_one_repository_do_not_meet(plans_copy) -> None:
    missing(plans_copy)
    held = os.open(plans_copy.repository, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EngineError, match="another `cxrexport engines`"):
            build_engines(plans_copy)
    finally:
        os.close(held)


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


def by_older_rules(request: EngineRequest) -> None:
    edit_passport(request, rules=1)


def in_the_old_format(request: EngineRequest) -> None:
    path = request.passport("average")
    content = json.loads(path.read_text())
    del content["rules"]
    path.write_text(json.dumps(content | {"format": 1}))


@pytest.mark.parametrize("age", [by_older_rules, in_the_old_format], ids=lambda age: age.__name__)
def test_an_engine_of_sums_in_fp16_is_built_again(plans_copy, age) -> None:
    age(plans_copy)
    done = build_engines(plans_copy)
    assert list(done.built) == ["average"]
    assert "let sums over a plane leave the range of fp16" in done.built["average"]
    assert build_engines(plans_copy).built == {}


def test_engines_of_another_precision_than_asked_for_are_built_again(plans_copy) -> None:
    request = replace(plans_copy, precision="fp32", force=False)
    missing_ones = {graph for graph in GRAPHS if graph != "average"}
    for graph in missing_ones:  # only one is built here, the others are made to fit
        path = request.passport(graph)
        path.write_text(replace(read_passport(path), precision="fp32").to_json())
    assert build_engines(request).built == {"average": "its precision is fp16, asked for is fp32"}


LEFT = [["--flavour", "tensorrt-rtx"], ["--arch", "sm89"], ["--output", "engines"]]


@pytest.mark.parametrize("words", LEFT, ids=lambda words: words[0])
def test_engines_that_triton_cannot_load_are_not_built(repository_copy, words: list[str]) -> None:
    command = ["engines", "--repository", str(repository_copy), *words]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert words[0] in result.output


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


@without_gpu
def test_an_engine_that_does_not_load_is_an_error_that_names_it(six_plans) -> None:
    request, _ = six_plans
    with (
        pytest.raises(EngineError, match=r"model\.plan cannot be loaded"),
        EngineGraphs({"average": request.engine("average")}),
    ):
        pass


@pytest.mark.parametrize(
    "change",
    [
        {"probability": 6e-3},
        {"probability": float("nan")},
        {"lungs_dice": 0.99},
        {"labels_changed": 1},
        {"flags_changed": 1},
    ],
)
def test_engines_outside_the_bars_are_not_put_in_place(change: dict[str, float]) -> None:
    parity = replace(Parity(20, 1e-3, 1e-2, 0.9999, 1e-2, 1e-2, 0, 1.0, 0, 1), **change)
    with pytest.raises(EngineError, match=r"No engine was put in place: take `--precision fp32`"):
        _require_bars(parity, "fp16", "fp16")


def test_the_command_shows_engines_that_were_kept(six_plans) -> None:
    request, _ = six_plans
    command = ["engines", "--repository", str(request.repository), "--flavour", "tensorrt"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert result.output.count("kept") == len(GRAPHS)
    assert "unverified: measured on no film" in " ".join(result.output.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "precision"),
    [("SM80", "bf16"), ("SM86", "fp32"), ("SM120", "fp16"), ("SM120", "bf16")],
)
def test_other_architectures_and_precisions_build(
    repository_copy: Path, monkeypatch, architecture: str, precision: str
) -> None:
    rtx_in_place.put(monkeypatch, architecture)
    request = EngineRequest(repository_copy, precision=precision)
    assert list(build_engines(request).built) == list(GRAPHS)
    assert edges_in(request.engine("segment").read_bytes()).keys() == {"CXR", "LUNGS"}
