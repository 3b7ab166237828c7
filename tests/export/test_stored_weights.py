"""Weights of int8 with a scale an output channel: a graph computes in fp32 what torch computes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import rtx_in_place
from cxrclient import CxrClient
from cxrclient.serving import shipped
from cxrclient.serving.embedded import EmbeddedServer
from cxrexport.cli.app import app
from cxrexport.ensemble import Ensemble, OnnxGraphs, OpenvinoGraphs
from cxrexport.onnx import random_inputs
from cxrexport.preprocessing import preprocess
from cxrexport.repository import check_repository, graph_files, read_repository, write_repository
from cxrexport.stored_weights import rounded, store, unfold

MEMBERS = ("resnet34", "vgg16")
RECIPE = """
name: eighth
negative: normal
positive: tb
finding: {scheme: SCT, value: "56717001", meaning: Tuberculosis}
preprocessing: {size_px: 64}
width: 0.125
members: [resnet34, vgg16]
segment: &schedule
  {epochs: 1, batch_size: 4, learning_rate: 1.0e-3, learning_rate_decay: 1.0, weight_decay: 0.0}
classify: *schedule
notice: Drawn for a test.
"""


def weights_of(*shape: int) -> np.ndarray:
    """Of a trained layer's kind: each output channel has a size of its own, one is dead."""
    generator = np.random.default_rng(1)
    values = generator.standard_normal(shape, np.float32)
    values *= np.geomspace(1e-6, 10, shape[0], dtype=np.float32).reshape(
        -1, *[1] * (len(shape) - 1)
    )
    values[1] = 0
    return values


@pytest.mark.parametrize("shape", [(32, 16, 3, 3), (64, 64), (2, 1024)])
def test_a_weight_is_off_by_half_a_step_of_its_channel_at_most_and_is_rounded_once(shape):
    values = weights_of(*shape)
    once = rounded(values, "int8")
    steps = np.abs(values).reshape(shape[0], -1).max(axis=1) / 127
    off = np.abs(once - values).reshape(shape[0], -1).max(axis=1)
    assert (off <= 0.51 * steps + 1e-30).all()
    assert not once[1].any()
    assert len(np.unique(once[0])) <= 255
    np.testing.assert_array_equal(rounded(once, "int8"), once)


def test_vectors_are_stored_as_fp16_and_what_is_small_not_at_all():
    vector, small = weights_of(2048), weights_of(10, 100)
    np.testing.assert_array_equal(rounded(vector, "int8"), vector.astype(np.float16))
    assert rounded(small, "int8") is small


def layers() -> onnx.ModelProto:
    """Two layers, the second's weights transposed, and a scale that no weight is: all large."""
    first, second = rounded(weights_of(64, 32), "int8"), rounded(weights_of(48, 64), "int8")
    scale = np.linspace(0.1, 0.3, 1024, dtype=np.float32).reshape(1, 1024)
    constants = {"first": first, "second": np.ascontiguousarray(second.T), "scale": scale}
    nodes = [
        helper.make_node("Gemm", ["x", "first"], ["a"], transB=1),
        helper.make_node("MatMul", ["a", "second"], ["b"]),
        helper.make_node("ReduceMean", ["scale"], ["c"], keepdims=1),
        helper.make_node("Mul", ["b", "c"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 48])
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "layers", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_storing_changes_no_value_and_is_undone_exactly():
    whole, stored = layers(), layers()
    store(stored, "int8")
    onnx.checker.check_model(stored, full_check=True)
    axes = {
        node.output[0]: helper.get_node_attr_value(node, "axis")
        for node in stored.graph.node
        if node.op_type == "DequantizeLinear"
    }
    assert axes == {"first": 0, "second": 1}
    kinds = {tensor.name: tensor.data_type for tensor in stored.graph.initializer}
    assert kinds["scale"] == TensorProto.FLOAT
    unfold(stored.graph)
    before, after = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for model in (whole, stored)
    )
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values, err_msg=name)
    assert [n.op_type for n in stored.graph.node] == [n.op_type for n in whole.graph.node]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small members with int8 weights."""
    folder = tmp_path_factory.mktemp("int8")
    (folder / "eighth.yaml").write_text(RECIPE)
    command = ["build", "--random-weights", "--recipe", folder / "eighth.yaml", "--films", 3]
    command += ["--weights", "int8", "--repository", folder / "repository"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    assert "rounding weights to int8" in result.output
    return folder / "repository"


def initialisers(path: Path) -> dict[int, int]:
    """Kind → how many numbers of it a graph holds."""
    found: dict[int, int] = {}
    for tensor in onnx.load(path).graph.initializer:
        found[tensor.data_type] = found.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    return found


def test_members_hold_int8_heads_included_and_the_lung_network_fp16(built):
    spec, _, _ = read_repository(built)
    files = graph_files(built, spec)
    for member in MEMBERS:
        held = initialisers(files[member])
        assert held[TensorProto.INT8] > 50 * held.get(TensorProto.FLOAT16, 0)
        assert held[TensorProto.INT8] > 20 * held[TensorProto.FLOAT]
        names = {tensor.name for tensor in onnx.load(files[member]).graph.initializer}
        assert {"head.fc1.weight.int8", "head.fc2.weight.int8"} <= names
    assert TensorProto.INT8 not in initialisers(files["segment"])


def test_parity_is_measured_against_the_rounded_weights_and_recorded(built):
    parity = json.loads((built / "parity.json").read_text())
    assert parity["weights"] == "int8"
    assert max(parity["probability"], *parity["members"].values()) <= 1e-5
    assert parity["rounding"] > 1e-5  # int8 is coarser than the agreement
    assert read_repository(built)[0].weights == "int8"
    assert check_repository(built) == []


def test_check_notices_weights_that_are_stored_otherwise_than_recorded(built, tmp_path):
    copy = shutil.copytree(built, tmp_path / "repository")
    path = copy / "vgg16/1/model.onnx"
    model = onnx.load(path)
    kept = {p.key: p.value for p in model.metadata_props if p.key != "weights"}
    del model.metadata_props[:]
    helper.set_model_props(model, kept)
    path.write_bytes(model.SerializeToString())
    write_repository(read_repository(copy)[0], copy)
    (fault,) = check_repository(copy)
    assert str(fault) == ("vgg16/1/model.onnx stores its weights as fp16, the repository says int8")


def test_every_runtime_computes_with_them_in_fp32(built, drawn_film):
    """OpenVINO would round what meets int8 weights in a fully connected layer, were it let."""
    spec, _, digest = read_repository(built)
    png = bytes(cv2.imencode(".png", drawn_film() * 16)[1])
    film = preprocess(png, spec.preprocessing).image[None]
    files = graph_files(built, spec)
    ours, openvinos = (
        Ensemble(kind(files), spec.members).judge(film) for kind in (OnnxGraphs, OpenvinoGraphs)
    )
    with EmbeddedServer(built, device="cpu") as server, CxrClient(server.grpc_address) as cxr:
        served = cxr.predict(png)
        assert cxr.model.digest == digest
        assert str(cxr.model.finding) == "Tuberculosis (SCT 56717001)"
    scale = float(np.abs(ours["EMBEDDING"]).max())
    np.testing.assert_allclose(openvinos["EMBEDDING"], ours["EMBEDDING"], atol=1e-4 * scale)
    np.testing.assert_allclose(served.embedding, ours["EMBEDDING"][0], atol=1e-4 * scale)
    np.testing.assert_allclose(list(served.members.values()), ours["MEMBERS"][0], atol=1e-5)
    np.testing.assert_allclose(openvinos["MEMBERS"], ours["MEMBERS"], atol=1e-5)


def test_tensorrt_takes_the_graph_as_it_lies_there_and_in_each_precision(built, monkeypatch):
    rtx_in_place.put(monkeypatch)
    from cxrexport.engines.builder import GraphBuilder, Profile
    from cxrexport.engines.library import load_library, resolve_target
    from cxrexport.engines.networks import networks_to_build

    spec, _, _ = read_repository(built)
    content = graph_files(built, spec)["resnet34"].read_bytes()
    networks = [networks_to_build({"resnet34": content}, p)["resnet34"] for p in ("fp16", "fp32")]
    for network in (content, *networks):
        builder = GraphBuilder(
            load_library(),
            resolve_target("current"),
            "resnet34",
            network,
            spec.edges("resnet34"),
            Profile(2, 4),
        )
        assert len(builder.build()) > 100_000
    inputs = random_inputs(spec.edges("resnet34"), batch=2)
    stored, unfolded = (
        onnxruntime.InferenceSession(each).run(["LOGITS"], inputs)[0]
        for each in (content, networks[1])
    )
    np.testing.assert_allclose(unfolded, stored, atol=1e-4 * float(np.abs(stored).max()))


def test_nncf_gives_them_7_bits_as_all_others(built, tmp_path):
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    from cxrexport.quantise.graphs import quantise_graph

    spec, _, _ = read_repository(built)
    films = [random_inputs(spec.edges("resnet34"), batch=1, seed=seed) for seed in range(3)]
    source = graph_files(built, spec)["resnet34"]
    quantise_graph(source, tmp_path / "model.int8.xml", films)
    graph = openvino.Core().read_model(tmp_path / "model.int8.xml")
    whole = [
        operation.get_data()
        for operation in graph.get_ops()
        if operation.get_type_name() == "Constant"
        and operation.get_element_type().get_type_name() == "i8"
        and operation.get_data().ndim == 4
    ]
    assert len(whole) > 30
    assert max(int(np.abs(values.astype(int)).max()) for values in whole) <= 64


def test_it_is_found_by_its_name_where_it_ships(built, tmp_path, monkeypatch):
    shutil.copytree(built, tmp_path / "ships" / "eighth")
    other = shipped.data_path
    monkeypatch.setattr(
        shipped,
        "data_path",
        lambda *wanted: tmp_path / "ships" if wanted[0] == "repositories" else other(*wanted),
    )
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["check", "--repository", "eighth"])
    assert result.exit_code == 0, result.output
    assert "model eighth-random" in result.output
    assert "The positive label is the finding Tuberculosis (SCT 56717001)." in result.output
    (tmp_path / "eighth").mkdir()
    result = CliRunner().invoke(app, ["check", "--repository", "eighth"])
    assert result.exit_code == 2
    assert "write ./eighth for the folder" in " ".join(result.output.split())
