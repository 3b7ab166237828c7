"""The head without matrix products, for GPUs on which TensorRT-RTX has none in fp32."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from cxrexport.engines.precision import mixed_precision
from cxrexport.engines.products import without_products


@pytest.mark.parametrize("graph", ["resnet34", "vgg16"])
def test_the_head_and_its_cam_stay_what_they_are(model_repository, graph: str) -> None:
    model = mixed_precision(onnx.load(model_repository / graph / "1" / "model.onnx"), "fp32")
    written_out = without_products(model)
    assert not {"Gemm", "MatMul"} & {node.op_type for node in written_out.graph.node}
    side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    random = np.random.default_rng(0)
    inputs = {name: random.random((2, 1, side, side), np.float32) for name in ("CXR", "LUNGS")}
    before, after = (
        onnxruntime.InferenceSession(each.SerializeToString()).run(None, inputs)
        for each in (model, written_out)
    )
    for ours, theirs in zip(before, after, strict=True):
        assert np.abs(ours).max() > 1e-3
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5 * np.abs(ours).max())


def test_a_graph_without_products_is_left_alone(model_repository) -> None:
    model = onnx.load(model_repository / "segment" / "1" / "model.onnx")
    assert without_products(model) == model


def test_a_product_of_two_matrices_is_refused() -> None:
    shapes = {"a": [1, 2, 3], "b": [1, 3, 4], "y": [1, 2, 4]}
    a, b, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    node = helper.make_node("MatMul", ["a", "b"], ["y"], "both")
    model = helper.make_model(helper.make_graph([node], "g", [a, b], [y]))
    with pytest.raises(ValueError, match="both multiplies two matrices"):
        without_products(model)
