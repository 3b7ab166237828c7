"""A half-width ResNet50 of another framework as the start of ours: same features, deeper twin."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from cxrexport.networks import load_pretrained, make_backbone
from cxrexport.phantom import write_phantoms

BLOCKS = (3, 4, 6, 3)


@pytest.fixture(scope="module")
def half():
    return pytest.importorskip("half_resnet")


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


@pytest.fixture(scope="module")
def graph():
    """Half of its first filters repeat the others, so that 32 of the 64 say all."""
    chance = np.random.default_rng(7)
    nodes, arrays = [], []
    for i, shape in enumerate(shapes()):
        weight = chance.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        bias = chance.normal(0, 0.1, shape[0]).astype(np.float32)
        if i == 0:
            weight, bias = weight / 100, bias * 0
            weight[32:] = 1.5 * weight[:32]
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}", f"b{i}"], [f"x{i + 1}"]))
        nodes.append(helper.make_node("Relu", [f"x{i + 1}"], [f"y{i + 1}"]))
        arrays += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
    return helper.make_graph(nodes, "half", [], [], arrays)


def block(x, convolutions, stride, shortcut):
    """One bottleneck, its stride where ours is."""
    (a, a0), (b, b0), (c, c0) = convolutions
    y = nn.functional.conv2d(x, a, a0).relu()
    y = nn.functional.conv2d(y, b, b0, stride=stride, padding=1).relu()
    y = nn.functional.conv2d(y, c, c0)
    if shortcut is not None:
        x = nn.functional.conv2d(x, *shortcut, stride=stride)
    return (x + y).relu()


def features(convolutions, film):
    """What the graph computes of a grey film in 0..1, its norms folded."""
    their_mean = torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    source = iter(convolutions)
    x = nn.functional.conv2d(255 * film - their_mean, *next(source), stride=2).relu()
    x = nn.functional.max_pool2d(x, 3, 2, 1)
    for i, blocks in enumerate(BLOCKS):
        for j in range(blocks):
            shortcut = next(source) if j == 0 else None
            three = [next(source) for _ in range(3)]
            x = block(x, three, 2 if i and j == 0 else 1, shortcut)
    return x


def made(half, graph, films):
    first, shortcut, squeeze, *rest = half.convolutions_of(graph)
    readers = (shortcut, squeeze)
    smaller, readers, lost = half.fewer_filters(half.on_our_input(first), readers, 32, films)
    net = half.resnet50([smaller, *readers, *rest])
    return net, lost


def test_our_network_computes_what_the_graph_does(half, graph):
    torch.manual_seed(0)
    film = torch.rand(2, 1, 96, 96)
    stacked = torch.cat([(film - 0.485) / 0.229, torch.rand(2, 1, 96, 96), film * 0], 1)
    net, lost = made(half, graph, stacked)
    assert abs(lost) < 1e-4
    net.conv1.padding = (0, 0)  # at the film's edge the two see different zeros
    wanted = features(half.convolutions_of(graph), film.expand(-1, 3, -1, -1))
    with torch.no_grad():
        got = net.extract(stacked)[-1]
    assert got.shape == wanted.shape
    torch.testing.assert_close(got, wanted, rtol=1e-2, atol=1e-2 * float(wanted.max()))


def test_unfolding_the_norms_changes_nothing_but_training(half, graph):
    torch.manual_seed(1)
    stacked = torch.rand(4, 3, 64, 64)
    net, _ = made(half, graph, stacked)
    with torch.no_grad():
        before = net.extract(stacked)[-1]
        half.unfold_norms(net, stacked)
        torch.testing.assert_close(net.extract(stacked)[-1], before, rtol=1e-3, atol=1e-3)
        learning = net.train().extract(stacked)[-1]
    torch.testing.assert_close(learning, before, rtol=1e-2, atol=1e-2 * float(before.max()))


def test_resnet152_begins_as_resnet50(half, graph):
    stacked = torch.rand(2, 3, 64, 64)
    net, _ = made(half, graph, stacked)
    deep = half.deeper(net)
    assert sum(1 for _ in deep.modules()) > 2 * sum(1 for _ in net.modules())
    with torch.no_grad():
        assert torch.equal(deep.extract(stacked)[-1], net.extract(stacked)[-1])


def test_a_graph_that_is_no_resnet50_is_refused(half, graph):
    other = onnx.GraphProto()
    other.CopyFrom(graph)
    del other.node[-2:]
    with pytest.raises(ValueError, match="52 convolutions"):
        half.convolutions_of(other)


def test_the_files_load_as_pretrained_weights(half, graph, tmp_path):
    films = write_phantoms(2, tmp_path / "films", size_px=128)
    model = tmp_path / "half.onnx"
    model.write_bytes(helper.make_model(graph).SerializeToString())
    half.main(model, films, tmp_path / "out", size=64, films=2)
    for name in ("resnet50", "resnet152"):
        backbone = make_backbone(name, 0.5)
        assert load_pretrained(backbone, name, str(tmp_path / "out" / f"{name}.safetensors")) == []
