"""The `openvino` backend under a real Triton, on tiny graphs that tell how they were run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from cxrclient.embedded import EmbeddedServer

PARAMETERS = {
    "model_name": "tiny",
    "model_digest": "0",
    "notice": "It counts.",
    "labels": r"[\"other\", \"covid\"]",
    "members": r"[\"whole\"]",
    "threshold": "0.5",
    "image_size_px": "64",
    "embedding_size": "4",
    "preprocessing_digest": "0",
}
"""What `serve` wants to hear from an ensemble."""

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def batch_size_graph() -> onnx.ModelProto:
    """Y = X + how many rows the graph saw at once."""
    nodes = [
        helper.make_node("Shape", ["X"], ["rows"], start=0, end=1),
        helper.make_node("Cast", ["rows"], ["films"], to=FLOAT),
        helper.make_node("Add", ["X", "films"], ["Y"]),
    ]
    x = helper.make_tensor_value_info("X", FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("Y", FLOAT, ["batch", 4])
    return _model(helper.make_graph(nodes, "batch_size", [x], [y]))


def reshape_graph() -> onnx.ModelProto:
    """Y = X reshaped to sum(S) rows, which fails where that is not the number of X's rows."""
    four = helper.make_tensor("four", INT64, [1], [4])
    axis = helper.make_tensor("axis", INT64, [1], [0])
    nodes = [
        helper.make_node("ReduceSum", ["S", "axis"], ["rows"], keepdims=0),
        helper.make_node("Concat", ["rows", "four"], ["shape"], axis=0),
        helper.make_node("Reshape", ["X", "shape"], ["Y"]),
    ]
    x = helper.make_tensor_value_info("X", FLOAT, ["batch", 4])
    s = helper.make_tensor_value_info("S", INT64, ["batch", 1])
    y = helper.make_tensor_value_info("Y", FLOAT, ["rows", 4])
    return _model(helper.make_graph(nodes, "reshape", [x, s], [y], [four, axis]))


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model


def add_model(
    repository: Path,
    name: str,
    graph: onnx.ModelProto,
    *,
    inputs: str = 'input { name: "X" data_type: TYPE_FP32 dims: 4 }',
    parameters: str = "",
    filename: str = "model.onnx",
) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    onnx.save(graph, version / filename)
    # Half a second of patience: requests sent together are one batch, on a busy machine as well.
    (repository / name / "config.pbtxt").write_text(
        f'name: "{name}" backend: "openvino" max_batch_size: 16 {inputs}'
        'output { name: "Y" data_type: TYPE_FP32 dims: 4 }'
        "instance_group { kind: KIND_CPU count: 1 }"
        "dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 500000 }"
        f'default_model_filename: "{filename}" {parameters}'
    )


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[triton.InferenceServerClient]:
    repository = tmp_path_factory.mktemp("tiny")
    add_model(repository, "whole", batch_size_graph())
    one = parameter("FILMS_PER_INFERENCE", "1")
    add_model(repository, "one", batch_size_graph(), parameters=one)
    two = parameter("FILMS_PER_INFERENCE", "2")
    add_model(repository, "two", batch_size_graph(), parameters=two, filename="other.onnx")
    both = (
        'input { name: "X" data_type: TYPE_FP32 dims: 4 }'
        'input { name: "S" data_type: TYPE_INT64 dims: 1 }'
    )
    add_model(repository, "reshape", reshape_graph(), inputs=both)
    (repository / "cxr" / "1").mkdir(parents=True)
    (repository / "cxr" / "config.pbtxt").write_text(
        'name: "cxr" platform: "ensemble" max_batch_size: 16'
        ' input { name: "X" data_type: TYPE_FP32 dims: 4 }'
        ' output { name: "Y" data_type: TYPE_FP32 dims: 4 }'
        ' ensemble_scheduling { step { model_name: "whole" model_version: -1'
        ' input_map { key: "X" value: "X" } output_map { key: "Y" value: "Y" } } } '
        + " ".join(parameter(key, value) for key, value in PARAMETERS.items())
    )
    with EmbeddedServer(repository, device="cpu") as running:
        client = triton.InferenceServerClient(running.grpc_address)
        yield client
        client.close()


def ask(client: triton.InferenceServerClient, model: str, **inputs: np.ndarray) -> np.ndarray:
    tensors = []
    for name, array in inputs.items():
        kind = "INT64" if array.dtype == np.int64 else "FP32"
        tensor = triton.InferInput(name, list(array.shape), kind)
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    result = client.infer(model, tensors).as_numpy("Y")
    assert result is not None
    return result


def executions(client: triton.InferenceServerClient, model: str) -> int:
    statistics = client.get_inference_statistics(model).model_stats[0]
    return int(statistics.execution_count)


def rows(count: int) -> np.ndarray:
    return np.arange(4 * count, dtype=np.float32).reshape(count, 4) * 100


@pytest.mark.parametrize(
    ("model", "films", "seen"),
    [
        ("whole", 5, [5, 5, 5, 5, 5]),
        ("one", 5, [1, 1, 1, 1, 1]),
        ("two", 5, [2, 2, 2, 2, 1]),
        ("two", 1, [1]),
    ],
)
def test_a_batch_is_computed_as_many_films_at_a_time_as_configured(
    server: triton.InferenceServerClient, model: str, films: int, seen: list[int]
) -> None:
    expected = rows(films) + np.array(seen, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(ask(server, model, X=rows(films)), expected)


def test_requests_sent_together_are_one_inference_and_each_gets_its_own_rows(
    server: triton.InferenceServerClient,
) -> None:
    before = executions(server, "whole")
    parts = np.split(rows(4), [1, 3])  # requests of 1, 2 and 1 films
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda part: ask(server, "whole", X=part), parts))
    assert executions(server, "whole") - before == 1
    for part, answer in zip(parts, answers, strict=True):
        np.testing.assert_array_equal(answer, part + 4)


def test_a_request_that_fails_does_not_cost_another_one_its_answer(
    server: triton.InferenceServerClient,
) -> None:
    before = executions(server, "reshape")
    asked = [np.array([[rows_asked]], dtype=np.int64) for rows_asked in (1, 3, 1, 1)]

    def fate(number: int) -> np.ndarray | str:
        try:
            return ask(server, "reshape", X=rows(4)[number : number + 1], S=asked[number])
        except InferenceServerException as error:
            return str(error.message())

    with ThreadPoolExecutor(4) as pool:
        fates = list(pool.map(fate, range(4)))
    assert executions(server, "reshape") - before == 1
    failed = fates.pop(1)
    assert isinstance(failed, str)
    assert failed.startswith("INTERNAL: OpenVINO failed: ")
    assert "\n" not in failed
    for answer, number in zip(fates, (0, 2, 3), strict=True):
        np.testing.assert_array_equal(answer, rows(4)[number : number + 1])
