"""One ensemble outside Triton: what it asks of its graphs, and that every runner says the same."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cxrexport.ensemble import (
    DEFAULT_MEMBERS,
    Ensemble,
    OnnxGraphs,
    OpenvinoGraphs,
    TorchGraphs,
    graphs_of,
)
from cxrexport.networks import Average
from cxrexport.onnx import export_graph, round_weights
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository import RepositorySpec, graph_files, read_repository

MEMBERS = ("vgg16", "resnet34")
SPEC = RepositorySpec(
    "test", PreprocessingSpec(size_px=64), ("other", "tb"), 0.5, "Random.", members=MEMBERS
)


class Noted:
    """Graphs that say which they are, and keep what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def run(self, graph, inputs):
        self.asked.append((graph, tuple(inputs)))
        number = np.array([[len(self.asked)]], np.float32)
        names = {"segment": ["LUNGS"], "average": ["PROBABILITY", "MEMBERS", "VOTES", "HEATMAP"]}
        return dict.fromkeys(names.get(graph, ["LOGITS", "EMBEDDING", "CAM"]), number)


@pytest.mark.parametrize("members", [("vgg16",), ("vgg16", "resnet50"), DEFAULT_MEMBERS])
def test_the_graphs_run_in_order_and_the_average_gets_all_logits_then_all_cams(members):
    graphs = Noted()
    film = np.zeros((1, 1, 64, 64), np.float32)
    said = Ensemble(graphs, members).judge(film)
    votes = tuple(f"{tensor}_{name.upper()}" for tensor in ("LOGITS", "CAM") for name in members)
    maps = [(name, ("CXR", "LUNGS")) for name in members]
    assert graphs.asked == [("segment", ("CXR",)), *maps, ("average", votes)]
    assert list(graphs_of(members)) == [graph for graph, _ in graphs.asked]
    embedder = "resnet50" if "resnet50" in members else members[0]
    assert said["EMBEDDING"].item() == 2 + members.index(embedder)
    assert set(said) == {"PROBABILITY", "MEMBERS", "VOTES", "HEATMAP", "EMBEDDING", "LUNGS"}


def test_a_lung_map_that_is_known_is_not_made_again():
    graphs = Noted()
    film = np.zeros((1, 1, 64, 64), np.float32)
    assert Ensemble(graphs, ("vgg16",)).judge(film, film + 1)["LUNGS"].mean() == 1
    assert [graph for graph, _ in graphs.asked] == ["vgg16", "average"]


@pytest.fixture(scope="module")
def runners(built, tmp_path_factory):
    """The same two members in torch, ONNX Runtime and OpenVINO, and temperatures of their own."""
    modules = {name: built.networks[name] for name in ("segment", *MEMBERS)}
    modules |= {"average": Average([1.0, 2.0])}
    files = graph_files(built.repository, SPEC)
    files["average"] = tmp_path_factory.mktemp("graphs") / "average.onnx"
    export_graph(modules["average"], SPEC.edges("average"), files["average"], {})
    rounded = {name: round_weights(module) for name, module in modules.items()}
    return {
        "torch": TorchGraphs(rounded),
        "onnx": OnnxGraphs(files),
        "openvino": OpenvinoGraphs(files),
    }


@pytest.mark.parametrize("other", ["onnx", "openvino"])
def test_every_runner_says_what_torch_says(runners, other):
    film = np.random.default_rng(0).random((1, 1, 64, 64), dtype=np.float32)
    ours, theirs = (Ensemble(runners[name], MEMBERS).judge(film) for name in ("torch", other))
    assert ours.keys() == theirs.keys()
    assert ours["MEMBERS"].shape == (1, 2)
    for name, value in ours.items():
        scale = max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(theirs[name], value, atol=1e-3 * scale, err_msg=name)
    assert ours["VOTES"].dtype == theirs["VOTES"].dtype == np.int32


def test_several_films_at_once_are_judged_as_one_by_one(runners):
    films = np.random.default_rng(1).random((3, 1, 64, 64), dtype=np.float32)
    ensemble = Ensemble(runners["onnx"], MEMBERS)
    together = ensemble.judge(films)
    for i in range(3):
        for name, value in ensemble.judge(films[i : i + 1]).items():
            np.testing.assert_allclose(together[name][i], value[0], rtol=1e-3, atol=1e-4)


def test_the_embedding_alone_is_that_of_the_whole_judgement(model_repository):
    spec = read_repository(model_repository)[0]
    files = graph_files(model_repository, spec)
    size = spec.preprocessing.size_px
    film = np.random.default_rng(2).random((1, 1, size, size), dtype=np.float32)
    whole = Ensemble(OnnxGraphs(files), spec.members).judge(film)
    fewer = OnnxGraphs({name: files[name] for name in ("segment", spec.embedder)})
    alone = Ensemble(fewer, spec.members)
    np.testing.assert_array_equal(alone.embedding(film, alone.lungs(film)), whole["EMBEDDING"])


def test_importing_the_room_loads_none_of_the_libraries():
    heavy = {"torch", "onnxruntime", "openvino", "polygraphy", "tritonclient"}
    code = f"import sys, cxrexport.ensemble; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
