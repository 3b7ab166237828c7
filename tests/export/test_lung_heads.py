"""Heads that read lungs and two stages, in every runtime that serves them, and in int8."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from torch import nn

import rtx_in_place
from cxrexport.build import build, random_networks
from cxrexport.engines.plans import build_engines
from cxrexport.engines.request import EngineRequest
from cxrexport.ensemble import Arrays, Ensemble, Graphs, OnnxGraphs, OpenvinoGraphs, TorchGraphs
from cxrexport.networks import Average, Backbone, Layout, make_backbone
from cxrexport.onnx import export_graph, round_weights
from cxrexport.quantise.graphs import quantise_graph
from cxrexport.repository import check_repository, graph_files, read_repository
from cxrexport.training.recipe import Recipe
from made_once import made_once

SIZE_PX = 64
SCHEDULE = {
    "epochs": 1,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "learning_rate_decay": 1.0,
    "weight_decay": 0.0,
}
RECIPE = Recipe(
    name="lungs",
    negative="normal",
    positive="tb",
    preprocessing={"size_px": SIZE_PX},
    # At 0.25 VGG16's first head layer is square: the OpenVINO trap of docs/adr/0004.
    width=0.25,
    widths={"resnet50": 0.125},
    members=("vgg16", "resnet50"),
    pooling="both",
    stages=2,
    segment=SCHEDULE,
    classify=SCHEDULE,
    overrides={"resnet50": {"standardise": True}},
)
YAHOO = Layout(stem=16, stride="first", pool="end")


def settled(backbone: Backbone, seed: int = 3) -> Backbone:
    """As tame as a trained one: norms have seen data, residual branches are weak, maps light up."""
    torch.manual_seed(seed)
    for block in backbone.modules():
        if isinstance(block, nn.BatchNorm2d):
            block.momentum = None
        last = getattr(block, "bn3", None)
        if last is not None:
            nn.init.constant_(last.weight, 0.3)
    inputs = tuple(torch.from_numpy(array) for array in drawn(4))
    with torch.no_grad():
        backbone.train()(*inputs)
        backbone.eval()
        if backbone.design.standardised:
            pooled = backbone.head.pool(backbone.extract(backbone.enter(*inputs)), inputs[1])
            backbone.head.mean.copy_(pooled.mean(dim=0))
            backbone.head.scale.copy_(pooled.std(dim=0) + 1e-3)
        if not backbone(*inputs).cam.any():
            backbone.head.fc3.weight.neg_()
    return backbone


def drawn(batch: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Films, and lungs that lie in their middle; the first film has none."""
    generator = np.random.default_rng(seed)
    films, lungs = generator.random((2, batch, 1, SIZE_PX, SIZE_PX), dtype=np.float32)
    lungs[:, :, :16] = lungs[:, :, :, -16:] = 0
    lungs[0] = 0
    return films, lungs


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    networks = random_networks(RECIPE)
    networks["vgg16"] = settled(networks["vgg16"])
    laid_out = make_backbone("resnet50", layout=YAHOO, **RECIPE.design_of("resnet50"))
    networks["resnet50"] = settled(laid_out)
    return networks


@pytest.fixture(scope="module")
def repository(networks, tmp_path_factory) -> Path:
    def make(folder: Path) -> None:
        build(networks, RECIPE, folder / "repository", drawn(2)[0])

    return made_once(tmp_path_factory, "lung-heads", make) / "repository"


def test_a_built_repository_is_whole_and_its_graphs_say_their_layout(repository, networks):
    assert networks["vgg16"].head.fc1.weight.shape == (512, 512)
    assert networks["resnet50"].design.standardised
    assert check_repository(repository) == []
    layouts = {}
    for name in RECIPE.served:
        model = onnx.load(repository / name / "1" / "model.onnx", load_external_data=False)
        layouts[name] = Layout.from_metadata({p.key: p.value for p in model.metadata_props})
    assert layouts == {"vgg16": Layout(), "resnet50": YAHOO}


@pytest.fixture(scope="module")
def runners(repository, networks):
    files = graph_files(repository, read_repository(repository)[0])
    modules = {**networks, "average": Average([1.0, 1.0])}
    return {
        "torch": TorchGraphs({name: round_weights(module) for name, module in modules.items()}),
        "onnx": OnnxGraphs(files),
        "openvino": OpenvinoGraphs(files),
    }


@pytest.mark.parametrize("other", ["onnx", "openvino"])
def test_every_runner_says_what_torch_says(runners, other):
    films, lungs = drawn(3, seed=5)
    for film, lung in zip(films, lungs, strict=True):
        ours, theirs = (
            Ensemble(runners[name], RECIPE.served).judge(film[None], lung[None])
            for name in ("torch", other)
        )
        assert ours["HEATMAP"].max() > 0
        for name, value in ours.items():
            scale = max(1.0, float(np.abs(value).max()))
            np.testing.assert_allclose(theirs[name], value, atol=1e-4 * scale, err_msg=name)


def one_by_one(graphs: Graphs, name: str, films: np.ndarray, lungs: np.ndarray) -> Arrays:
    """Ask a network of each film alone, as OpenVINO's graphs take one at a time."""
    said = [
        graphs.run(name, {"CXR": film[None], "LUNGS": lung[None]})
        for film, lung in zip(films, lungs, strict=True)
    ]
    return {key: np.concatenate([each[key] for each in said]) for key in said[0]}


def autograd_cam(module: Backbone, films: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Gradient times map of the last stage, place by place, with the weights that the graph has.

    That is Grad-CAM on the maps as they enter the mean over space, weighted by the lungs.
    """
    rounded = round_weights(module)
    film, lung = torch.from_numpy(films), torch.from_numpy(lungs)
    *others, last = rounded.extract(rounded.enter(film, lung))
    last = last.detach().requires_grad_()
    rounded.decide((*others, last), lung).logits[:, 1].sum().backward()
    return torch.relu((last.grad * last).sum(dim=1)).detach().numpy()


@pytest.mark.parametrize("runner", ["onnx", "openvino"])
@pytest.mark.parametrize("name", RECIPE.served)
def test_cam_equals_autograd_within_a_thousandth_of_its_maximum(networks, runners, name, runner):
    films, lungs = drawn(4, seed=6)
    expected = autograd_cam(networks[name], films, lungs)
    assert expected.max() > 0
    found = one_by_one(runners[runner], name, films, lungs)["CAM"]
    assert np.abs(found - expected).max() <= 1e-3 * expected.max()


@pytest.fixture(scope="module")
def by_lungs(repository, tmp_path_factory) -> tuple[Backbone, Path]:
    """A network whose film is masked, and which pools over the lungs alone."""
    torch.manual_seed(3)  # whichever tests drew numbers before
    module = settled(make_backbone("vgg16", 0.125, pooling="lung", masked=True))
    path = tmp_path_factory.mktemp("by-lungs") / "model.onnx"
    export_graph(module, read_repository(repository)[0].edges("vgg16"), path, {})
    return module, path


@pytest.mark.parametrize("runner", [OnnxGraphs, OpenvinoGraphs])
def test_a_masked_film_pooled_over_the_lungs_is_the_same_in_every_runtime(by_lungs, runner):
    module, path = by_lungs
    films, lungs = drawn(4, seed=7)
    lungs[1:, :, :, : SIZE_PX // 2] = 0  # the right half alone; the first film has no lungs
    graphs = runner({"vgg16": path})
    theirs = one_by_one(graphs, "vgg16", films, lungs)
    ours = one_by_one(TorchGraphs({"vgg16": round_weights(module)}), "vgg16", films, lungs)
    for name, value in ours.items():
        scale = max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(theirs[name], value, atol=1e-4 * scale, err_msg=name)
    cam = autograd_cam(module, films, lungs)
    assert np.abs(theirs["CAM"] - cam).max() <= 1e-3 * cam.max()
    assert theirs["CAM"][1:].any()
    assert not theirs["CAM"][1:, :, :1].any()
    changed = np.where(lungs == 0, 1 - films, films)
    again = one_by_one(graphs, "vgg16", changed, lungs)
    np.testing.assert_array_equal(again["LOGITS"], theirs["LOGITS"])


def upstream(operation: openvino.Node) -> Iterator[openvino.Node]:
    for port in operation.inputs():
        yield port.get_source_output().get_node()


def test_int8_leaves_pooling_head_and_grad_cam_in_floating_point(repository, tmp_path):
    source, target = repository / "vgg16" / "1" / "model.onnx", tmp_path / "vgg16.xml"
    films, lungs = drawn(8, seed=8)
    feeds = [{"CXR": films[i : i + 1], "LUNGS": lungs[i : i + 1]} for i in range(8)]
    quantise_graph(source, target, feeds)
    pools, after = {"ReduceMean", "ReduceSum"}, set()
    kinds = []
    for operation in openvino.Core().read_model(target).get_ordered_ops():
        kind, name = operation.get_type_name(), operation.get_friendly_name()
        kinds.append(kind)
        if kind in pools or any(node.get_friendly_name() in after for node in upstream(operation)):
            assert kind != "FakeQuantize", name
            after.add(name)
    assert "FakeQuantize" in kinds
    f32, int8 = (
        one_by_one(OpenvinoGraphs({"vgg16": path}), "vgg16", films, lungs)
        for path in (source, target)
    )
    for name in ("LOGITS", "EMBEDDING"):  # a ReLU that turns over moves an untrained CAM by half
        assert np.abs(int8[name] - f32[name]).max() <= 0.1 * np.abs(f32[name]).max(), name


def test_tensorrt_rtx_builds_every_graph(repository, monkeypatch, tmp_path):
    rtx_in_place.put(monkeypatch)
    copy = Path(shutil.copytree(repository, tmp_path / "repository"))
    built = build_engines(EngineRequest(copy)).built
    assert set(built) == {"segment", "vgg16", "resnet50", "average"}
