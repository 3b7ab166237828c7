"""A graph computes what its network computes, in each runtime that serves it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from onnx import TensorProto
from torch import nn

from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.networks import Average, LungUNet, make_backbone
from cxrexport.onnx import export_graph, random_inputs, round_weights
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository import RepositorySpec

SIZE_PX = 64
SPEC = RepositorySpec("test", PreprocessingSpec(size_px=SIZE_PX), ("other", "tb"), 0.5, "Random.")


def settled(name: str) -> nn.Module:
    """A backbone as tame as a trained one: batch norm has seen data, residual branches are weak.

    Otherwise an untrained ResNet152 amplifies the last bit of its input a thousandfold.
    """
    torch.manual_seed(3)
    # 0.25: the width at which ResNet50's first head layer is square (the OpenVINO trap).
    backbone = make_backbone(name, 0.25)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    for block in backbone.modules():
        last = getattr(block, "bn3", getattr(block, "bn2", None))
        if last is not None:
            nn.init.constant_(last.weight, 0.3)
    backbone.train()(torch.rand(4, 1, 64, 64), torch.rand(4, 1, 64, 64))
    backbone.eval()
    if not backbone(torch.rand(4, 1, 64, 64), torch.rand(4, 1, 64, 64)).cam.any():
        with torch.no_grad():
            backbone.head.fc3.weight.neg_()
    return backbone


GRAPHS = {name: SPEC.edges(name) for name in SPEC.graphs}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    modules = {"segment": LungUNet().eval(), "average": Average([1.0] * 4)}
    modules |= {name: settled(name) for name in DEFAULT_MEMBERS}
    for name, spec in GRAPHS.items():
        export_graph(modules[name], spec, folder / f"{name}.onnx", {"preprocessing_digest": "d"})
    return folder, modules


def in_torch(module: nn.Module, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    with torch.inference_mode():
        out = round_weights(module)(*map(torch.from_numpy, inputs.values()))
    return [t.numpy() for t in (out if isinstance(out, tuple) else (out,))]


def in_onnxruntime(path, spec, inputs):
    names = [tensor.name for tensor in spec.outputs]
    return onnxruntime.InferenceSession(path).run(names, inputs)


def in_openvino(path, spec, inputs):
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    results = openvino.Core().compile_model(path, "CPU", exact)(inputs)
    return [results[tensor.name] for tensor in spec.outputs]


@pytest.mark.parametrize("runtime", [in_onnxruntime, in_openvino])
@pytest.mark.parametrize("name", GRAPHS)
def test_graph_equals_torch_with_the_same_rounded_weights(exported, name, runtime):
    folder, modules = exported
    spec = GRAPHS[name]
    inputs = random_inputs(spec, batch=3, seed=1)
    expected = in_torch(modules[name], inputs)
    for output, value, reference in zip(
        spec.outputs, runtime(folder / f"{name}.onnx", spec, inputs), expected, strict=True
    ):
        assert value.shape == reference.shape
        scale = max(1.0, float(np.abs(reference).max()))
        np.testing.assert_allclose(value, reference, atol=1e-3 * scale, err_msg=output.name)


@pytest.mark.slow
def test_densenet121s_graph_equals_torch_to_a_hundred_thousandth(tmp_path):
    """Its norms stand before the convolutions: most cannot be folded."""
    module, spec = settled("densenet121"), SPEC.edges("vgg16")
    export_graph(module, spec, tmp_path / "densenet121.onnx", {"preprocessing_digest": "d"})
    inputs = random_inputs(spec, batch=3, seed=1)
    expected = in_torch(module, inputs)
    found = in_onnxruntime(tmp_path / "densenet121.onnx", spec, inputs)
    for output, value, reference in zip(spec.outputs, found, expected, strict=True):
        scale = float(np.abs(reference).max())
        assert scale > 0.1, "outputs of zeros would prove nothing"
        np.testing.assert_allclose(value, reference, atol=1e-5 * scale, rtol=0, err_msg=output.name)


@pytest.mark.parametrize("name", DEFAULT_MEMBERS)
def test_openvino_cam_equals_autograd_within_a_thousandth_of_its_maximum(exported, name):
    folder, modules = exported
    spec = GRAPHS[name]
    inputs = random_inputs(spec, batch=4, seed=2)
    rounded = round_weights(modules[name])
    stacked = torch.cat(
        [*map(torch.from_numpy, inputs.values()), torch.zeros(4, 1, SIZE_PX, SIZE_PX)], dim=1
    )
    (features,) = rounded.extract((stacked - rounded.mean) / rounded.std)
    features = features.detach().requires_grad_()
    rounded.head((features,), stacked[:, 1:2]).logits[:, 1].sum().backward()
    alpha = features.grad.mean(dim=(2, 3), keepdim=True)
    expected = torch.relu((alpha * features).sum(dim=1)).detach().numpy()
    assert expected.max() > 0
    cam = in_openvino(folder / f"{name}.onnx", spec, inputs)[
        [tensor.name for tensor in spec.outputs].index("CAM")
    ]
    assert np.abs(cam - expected).max() <= 1e-3 * expected.max()


@pytest.mark.parametrize("name", GRAPHS)
def test_batch_axis_is_free(exported, name):
    folder, _ = exported
    spec = GRAPHS[name]
    batch = random_inputs(spec, batch=5, seed=4)
    together = in_onnxruntime(folder / f"{name}.onnx", spec, batch)
    for i in range(5):
        alone = in_onnxruntime(
            folder / f"{name}.onnx", spec, {key: value[i : i + 1] for key, value in batch.items()}
        )
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], many[i], rtol=1e-3, atol=1e-4)


def test_large_weights_are_stored_in_half_precision_and_computed_in_single(exported):
    folder, _ = exported
    model = onnx.load(folder / "resnet50.onnx")
    stored = {}
    for tensor in model.graph.initializer:
        stored[tensor.data_type] = stored.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    assert stored[TensorProto.FLOAT16] > 50 * stored[TensorProto.FLOAT]
    casts = [node for node in model.graph.node if node.op_type == "Cast" and ".fp16" in node.name]
    assert {a.i for cast in casts for a in cast.attribute} == {TensorProto.FLOAT}


def test_graph_carries_its_metadata_and_no_path_of_the_machine_that_made_it(exported):
    folder, _ = exported
    for name in GRAPHS:
        model = onnx.load(folder / f"{name}.onnx")
        assert {p.key: p.value for p in model.metadata_props} == {"preprocessing_digest": "d"}
        assert b"site-packages" not in (folder / f"{name}.onnx").read_bytes()


def test_export_is_deterministic(exported, tmp_path):
    folder, modules = exported
    export_graph(
        modules["vgg16"], GRAPHS["vgg16"], tmp_path / "again.onnx", {"preprocessing_digest": "d"}
    )
    assert (tmp_path / "again.onnx").read_bytes() == (folder / "vgg16.onnx").read_bytes()
