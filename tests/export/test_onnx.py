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

from built_run import settled
from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.networks import Average
from cxrexport.onnx import export_graph, random_inputs, round_weights
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository import RepositorySpec

SIZE_PX = 64
SPEC = RepositorySpec("test", PreprocessingSpec(size_px=SIZE_PX), ("other", "tb"), 0.5, "Random.")
GRAPHS = {name: SPEC.edges(name) for name in SPEC.graphs}


@pytest.fixture(scope="module")
def modules(built):
    return built.networks | {"average": Average([1.0] * 4)}


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
def test_graph_equals_torch_with_the_same_rounded_weights(built, modules, name, runtime):
    spec = GRAPHS[name]
    inputs = random_inputs(spec, batch=3, seed=1)
    expected = in_torch(modules[name], inputs)
    for output, value, reference in zip(
        spec.outputs, runtime(built.graph(name), spec, inputs), expected, strict=True
    ):
        assert value.shape == reference.shape
        scale = max(1.0, float(np.abs(reference).max()))
        np.testing.assert_allclose(value, reference, atol=1e-3 * scale, err_msg=output.name)


@pytest.mark.slow
def test_densenet121s_graph_equals_torch_to_a_hundred_thousandth(tmp_path):
    """Its norms stand before the convolutions: most cannot be folded."""
    module, spec = settled("densenet121", 0.25), SPEC.edges("vgg16")
    export_graph(module, spec, tmp_path / "densenet121.onnx", {"preprocessing_digest": "d"})
    inputs = random_inputs(spec, batch=3, seed=1)
    expected = in_torch(module, inputs)
    found = in_onnxruntime(tmp_path / "densenet121.onnx", spec, inputs)
    for output, value, reference in zip(spec.outputs, found, expected, strict=True):
        scale = float(np.abs(reference).max())
        assert scale > 0.1, "outputs of zeros would prove nothing"
        np.testing.assert_allclose(value, reference, atol=1e-5 * scale, rtol=0, err_msg=output.name)


@pytest.mark.parametrize("name", DEFAULT_MEMBERS)
def test_openvino_cam_equals_autograd_within_a_thousandth_of_its_maximum(built, modules, name):
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
    cam = in_openvino(built.graph(name), spec, inputs)[
        [tensor.name for tensor in spec.outputs].index("CAM")
    ]
    assert np.abs(cam - expected).max() <= 1e-3 * expected.max()


@pytest.mark.parametrize("name", GRAPHS)
def test_batch_axis_is_free(built, name):
    spec = GRAPHS[name]
    batch = random_inputs(spec, batch=5, seed=4)
    together = in_onnxruntime(built.graph(name), spec, batch)
    for i in range(5):
        alone = in_onnxruntime(
            built.graph(name), spec, {key: value[i : i + 1] for key, value in batch.items()}
        )
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], many[i], rtol=1e-3, atol=1e-4)


def test_large_weights_are_stored_in_half_precision_and_computed_in_single(built):
    model = onnx.load(built.graph("resnet50"))
    stored = {}
    for tensor in model.graph.initializer:
        stored[tensor.data_type] = stored.get(tensor.data_type, 0) + int(np.prod(tensor.dims))
    assert stored[TensorProto.FLOAT16] > 50 * stored[TensorProto.FLOAT]
    casts = [node for node in model.graph.node if node.op_type == "Cast" and ".fp16" in node.name]
    assert {a.i for cast in casts for a in cast.attribute} == {TensorProto.FLOAT}


def test_graph_carries_its_metadata_and_no_path_of_the_machine_that_made_it(built):
    recipe = built.run.recipe
    facts = {"preprocessing_digest": recipe.spec.digest, "recipe_digest": recipe.digest}
    for name in GRAPHS:
        model = onnx.load(built.graph(name))
        assert metadata(model) == facts | {"recipe": "tiny"}
        assert b"site-packages" not in built.graph(name).read_bytes()


def test_export_is_deterministic(built, modules, tmp_path):
    again = tmp_path / "again.onnx"
    facts = metadata(onnx.load(built.graph("vgg16")))
    export_graph(modules["vgg16"], GRAPHS["vgg16"], again, facts)
    assert again.read_bytes() == built.graph("vgg16").read_bytes()


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}
