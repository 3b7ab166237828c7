"""A half-width ResNet50 of another framework becomes ours: same features, norms, deeper twin."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from cxrexport.errors import CheckpointError
from cxrexport.networks import make_backbone
from cxrexport.weights.published import convolutions_of, half_resnet50, vgg16
from cxrexport.weights.refit import deeper, refit_norms
from cxrexport.weights.sources import OPEN_NSFW, VGG16

BLOCKS = (3, 4, 6, 3)


def shapes():
    """Of every convolution, shortcuts first, as the package's graph has them."""
    yield (64, 3, 7, 7)
    previous = 64
    for blocks, planes in zip(BLOCKS, (32, 64, 128, 256), strict=True):
        for i in range(blocks):
            if i == 0:
                yield (4 * planes, previous, 1, 1)
            yield (planes, previous, 1, 1)
            yield (planes, planes, 3, 3)
            yield (4 * planes, planes, 1, 1)
            previous = 4 * planes


def graph_of(all_shapes):
    """Convolutions of these shapes one after the other, random but of one scale."""
    chance = np.random.default_rng(7)
    nodes, arrays = [], []
    for i, shape in enumerate(all_shapes):
        weight = chance.normal(0, (1 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        bias = chance.normal(0, 0.1, shape[0]).astype(np.float32)
        if i == 0:
            weight, bias = weight / 100, bias * 0
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}", f"b{i}"], [f"x{i + 1}"]))
        nodes.append(helper.make_node("Relu", [f"x{i + 1}"], [f"y{i + 1}"]))
        arrays += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
    graph = helper.make_graph(nodes, "half", [], [], arrays)
    return helper.make_model(graph).SerializeToString()


@pytest.fixture(scope="module")
def graph():
    return graph_of(shapes())


@pytest.fixture
def net(graph):
    return half_resnet50(convolutions_of(graph, OPEN_NSFW))


def block(x, convolutions, stride, shortcut):
    """One bottleneck as Caffe has it: its first convolution strides."""
    (a, a0), (b, b0), (c, c0) = convolutions
    y = nn.functional.conv2d(x, a, a0, stride=stride).relu()
    y = nn.functional.conv2d(y, b, b0, padding=1).relu()
    y = nn.functional.conv2d(y, c, c0)
    if shortcut is not None:
        x = nn.functional.conv2d(x, *shortcut, stride=stride)
    return (x + y).relu()


def features(graph, film):
    """What the graph computes of a grey film in 0..1: its last two stages."""
    arrays = {each.name: each for each in onnx.load_model_from_string(graph).graph.initializer}
    tensors = {
        name: torch.from_numpy(numpy_helper.to_array(a).copy()) for name, a in arrays.items()
    }
    source = ((tensors[f"w{i}"], tensors[f"b{i}"]) for i in range(len(tensors) // 2))
    their_mean = torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    x = nn.functional.conv2d(255 * film - their_mean, *next(source), stride=2).relu()
    x = nn.functional.max_pool2d(nn.functional.pad(x, (0, 1, 0, 1)), 3, 2)
    stages = []
    for i, blocks in enumerate(BLOCKS):
        for j in range(blocks):
            shortcut = next(source) if j == 0 else None
            x = block(x, [next(source) for _ in range(3)], 2 if i and j == 0 else 1, shortcut)
        stages.append(x)
    return stages[-2:]


def test_our_network_computes_what_the_graph_does(net, graph):
    torch.manual_seed(0)
    film = torch.rand(2, 1, 102, 102)  # 96 x 96 without the edge
    entered = net.enter(film, torch.rand(2, 1, 102, 102))
    net.conv1.padding = (0, 0)  # at the film's edge the two see different zeros
    with torch.no_grad():
        maps = net.through(entered, 0, 4)
        got = [maps, net.through(maps, 4, 5)]
        wanted = features(graph, film.expand(-1, 3, -1, -1))
    for ours, theirs in zip(got, wanted, strict=True):
        assert theirs.std() > 1e-3, "features that are all alike would prove nothing"
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.max()))


def test_unfolding_the_norms_changes_nothing_but_training(net):
    torch.manual_seed(1)
    films = net.enter(torch.rand(7, 1, 64, 64), torch.rand(7, 1, 64, 64))
    with torch.no_grad():
        before = net.extract(films)[-1]
        refit_norms(net, films)
        torch.testing.assert_close(net.extract(films)[-1], before, rtol=1e-3, atol=1e-3)
        learning = net.train().extract(films)[-1]
    torch.testing.assert_close(learning, before, rtol=1e-2, atol=1e-2 * float(before.max()))


def test_resnet152_begins_as_resnet50(net):
    films = torch.rand(2, 3, 64, 64)
    deep = deeper(net)
    assert sum(1 for _ in deep.modules()) > 2 * sum(1 for _ in net.modules())
    with torch.no_grad():
        assert torch.equal(deep.extract(films)[-1], net.extract(films)[-1])


def test_the_lung_map_and_the_zeros_start_without_weight(net):
    film = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        one, other = (
            net.extract(net.enter(film, lungs))[-1]
            for lungs in (torch.zeros_like(film), torch.rand_like(film))
        )
    assert torch.equal(one, other)


def test_a_graph_of_another_network_is_refused(graph):
    fewer = graph_of(list(shapes())[:-1])
    with pytest.raises(CheckpointError, match="52 convolutions of 53"):
        half_resnet50(convolutions_of(fewer, OPEN_NSFW))
    wider = graph_of([(64, 3, 3, 3), *list(shapes())[1:]])
    with pytest.raises(CheckpointError, match=r"\(64, 3, 3, 3\) in place of \(64, 3, 7, 7\)"):
        half_resnet50(convolutions_of(wider, OPEN_NSFW))
    with pytest.raises(CheckpointError, match="not VGG16"):
        vgg16(convolutions_of(graph, VGG16))
    with pytest.raises(CheckpointError, match="no ONNX graph"):
        convolutions_of(b"\xff\xff\xff", VGG16)


def test_vgg16_takes_blue_green_red_of_a_grey_film():
    shapes_of_vgg16 = [
        tuple(each.weight.shape)
        for each in make_backbone("vgg16").features
        if isinstance(each, nn.Conv2d)
    ]
    graph = graph_of(shapes_of_vgg16)
    net = vgg16(convolutions_of(graph, VGG16))
    arrays = {a.name: a for a in onnx.load_model_from_string(graph).graph.initializer}
    weight, bias = (torch.from_numpy(numpy_helper.to_array(arrays[n]).copy()) for n in ("w0", "b0"))
    film = torch.rand(1, 1, 32, 32)
    blue_green_red = 255 * film - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    wanted = nn.functional.conv2d(blue_green_red, weight, bias)
    with torch.no_grad():
        got = net.features[0](net.enter(film, torch.rand_like(film)))[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
