"""The `openvino` backend under a real Triton, on tiny graphs that tell how they were run."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import psutil
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from cxrclient.errors import ServeFailed
from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.serving.machine import cpu
from waiting import HANG_S, programs_with

BACKEND = Path(__file__).parents[2] / "deploy" / "openvino" / "model.py"
PARAMETERS = {
    "model_name": "tiny",
    "model_digest": "0" * 64,
    "notice": "It counts.",
    "labels": r"[\"other\", \"covid\"]",
    "members": r"[\"whole\"]",
    "threshold": "0.5",
    "image_size_px": "64",
    "embedding_size": "4",
    "preprocessing_digest": "0" * 64,
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


def large_graph() -> onnx.ModelProto:
    """Y = X · W · V, and W and V, of ones, take 33 MB."""
    wide = 1 << 20
    tensors = [
        onnx.numpy_helper.from_array(np.ones(shape, dtype=np.float32), name)
        for name, shape in (("W", (4, wide)), ("V", (wide, 4)))
    ]
    nodes = [
        helper.make_node("MatMul", ["X", "W"], ["wide"]),
        helper.make_node("MatMul", ["wide", "V"], ["Y"]),
    ]
    x = helper.make_tensor_value_info("X", FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("Y", FLOAT, ["batch", 4])
    return _model(helper.make_graph(nodes, "large", [x], [y], tensors))


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
    patience_s: float = 0.5,
) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    onnx.save(graph, version / filename)
    (repository / name / "config.pbtxt").write_text(
        f'name: "{name}" backend: "openvino" max_batch_size: 16 {inputs}'
        'output { name: "Y" data_type: TYPE_FP32 dims: 4 }'
        "instance_group { kind: KIND_CPU count: 1 }"
        "dynamic_batching { preferred_batch_size: 4"
        f" max_queue_delay_microseconds: {patience_s * 1e6:.0f} }}"
        f'default_model_filename: "{filename}" {parameters}'
    )


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


def add_ensemble(repository: Path, model: str) -> None:
    """What `serve` asks after, around one model."""
    (repository / "cxr" / "1").mkdir(parents=True)
    (repository / "cxr" / "config.pbtxt").write_text(
        'name: "cxr" platform: "ensemble" max_batch_size: 16'
        ' input { name: "X" data_type: TYPE_FP32 dims: 4 }'
        ' output { name: "Y" data_type: TYPE_FP32 dims: 4 }'
        f' ensemble_scheduling {{ step {{ model_name: "{model}" model_version: -1'
        ' input_map { key: "X" value: "X" } output_map { key: "Y" value: "Y" } } } '
        + " ".join(parameter(key, value) for key, value in PARAMETERS.items())
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    repository = tmp_path_factory.mktemp("tiny")
    add_model(repository, "whole", batch_size_graph())
    # What is sent together is one batch of four, however late a busy machine sends it.
    add_model(repository, "together", batch_size_graph(), patience_s=HANG_S)
    one = parameter("FILMS_PER_INFERENCE", "1")
    add_model(repository, "one", batch_size_graph(), parameters=one)
    two = parameter("FILMS_PER_INFERENCE", "2")
    add_model(repository, "two", batch_size_graph(), parameters=two, filename="other.onnx")
    both = (
        'input { name: "X" data_type: TYPE_FP32 dims: 4 }'
        'input { name: "S" data_type: TYPE_INT64 dims: 1 }'
    )
    add_model(repository, "reshape", reshape_graph(), inputs=both, patience_s=HANG_S)
    locked = parameter("CORES_LOCK", "1")
    for name in ("locked", "locked_too"):
        add_model(repository, name, batch_size_graph(), parameters=locked)
    add_model(repository, "large", large_graph(), parameters=one)
    add_ensemble(repository, "whole")
    with EmbeddedServer(repository, device="cpu") as server:
        yield server


@pytest.fixture(scope="module")
def server(running: EmbeddedServer) -> Iterator[triton.InferenceServerClient]:
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


def rows(count: int) -> np.ndarray:
    return np.arange(4 * count, dtype=np.float32).reshape(count, 4) * 100


def test_the_weights_of_a_large_graph_are_in_memory_once(
    server: triton.InferenceServerClient,
) -> None:
    film = rows(1)
    wanted = np.full((1, 4), film.sum() * 2**20, dtype=np.float32)
    np.testing.assert_array_equal(ask(server, "large", X=film), wanted)
    ours = {each.pid for each in psutil.Process().children(recursive=True)}
    (pid,) = ours.intersection(programs_with("large_0_0"))
    # Mapped from a file that nobody can open any more, and forgotten but for what is read ahead.
    maps = psutil.Process(pid).memory_maps(grouped=False)
    copies = [m for m in maps if "cxr-openvino-" in m.path]
    assert sum(m.size for m in copies) > 33e6
    assert sum(m.rss for m in copies) < 8e6
    assert not any(Path(m.path).exists() for m in copies)


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
    server: triton.InferenceServerClient, settled_counts: Any
) -> None:
    parts = np.split(rows(4), [1, 3])  # requests of 1, 2 and 1 films
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda part: ask(server, "together", X=part), parts))
    assert settled_counts(server, "together", (4, 1)) == (4, 1)
    for part, answer in zip(parts, answers, strict=True):
        np.testing.assert_array_equal(answer, part + 4)


def test_a_request_that_fails_does_not_cost_another_one_its_answer(
    server: triton.InferenceServerClient, settled_counts: Any
) -> None:
    asked = [np.array([[rows_asked]], dtype=np.int64) for rows_asked in (1, 3, 1, 1)]

    def fate(number: int) -> np.ndarray | str:
        try:
            return ask(server, "reshape", X=rows(4)[number : number + 1], S=asked[number])
        except InferenceServerException as error:
            return str(error.message())

    with ThreadPoolExecutor(4) as pool:
        fates = list(pool.map(fate, range(4)))
    assert settled_counts(server, "reshape", (4, 1)) == (4, 1)
    failed = fates.pop(1)
    assert isinstance(failed, str)
    assert failed.startswith("INTERNAL: OpenVINO failed: ")
    assert "\n" not in failed
    for answer, number in zip(fates, (0, 2, 3), strict=True):
        np.testing.assert_array_equal(answer, rows(4)[number : number + 1])


# --- the lock of the cores -------------------------------------------------------------------


@pytest.fixture
def cores(running: EmbeddedServer) -> Path:
    """The lock's file of the running server."""
    assert running._runtime is not None
    return running._runtime.path / "cores.lock"


def test_models_with_the_lock_wait_for_it_and_others_do_not(
    server: triton.InferenceServerClient, cores: Path
) -> None:
    # The file closes first, so a failure frees those that wait.
    with ThreadPoolExecutor(3) as pool, cores.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        free = pool.submit(ask, server, "whole", X=rows(1))
        waiting = [pool.submit(ask, server, m, X=rows(1)) for m in ("locked", "locked_too")]
        assert free.result(600).shape == (1, 4)
        # The batcher's own patience is half a second.
        assert not wait(waiting, timeout=1.5).done
        fcntl.flock(held, fcntl.LOCK_UN)
        for answer in waiting:
            np.testing.assert_array_equal(answer.result(600), rows(1) + 1)


def test_a_lock_whose_holder_is_killed_is_free(
    server: triton.InferenceServerClient, cores: Path
) -> None:
    program = "import fcntl, signal, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX)"
    program += "; print('held', flush=True); signal.pause()"
    holder = subprocess.Popen([sys.executable, "-c", program, cores], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, server, "locked", X=rows(1))
        assert not wait([answer], timeout=1.5).done
        holder.kill()
        np.testing.assert_array_equal(answer.result(600), rows(1) + 1)
    holder.wait()
    holder.stdout.close()


# Outside Triton's stub there is no pb_utils; the lock uses nothing of it.
TAKE_TURNS = """
import mmap, sys, time, types
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
sys.modules["triton_python_backend_utils"] = types.ModuleType("triton_python_backend_utils")
spec = spec_from_file_location("backend", sys.argv[1])
backend = module_from_spec(spec)
spec.loader.exec_module(backend)
lock, turns, role = backend.CoresLock(Path(sys.argv[2])), Path(sys.argv[2]) / "turns", sys.argv[3]
with turns.open("r+b") as file, mmap.mmap(file.fileno(), 8) as count:
    if role == "greedy":
        print("ready", flush=True)
        while True:
            with lock:  # again and again, without a pause
                count[:8] = (int.from_bytes(count[:8], "little") + 1).to_bytes(8, "little")
                time.sleep(0.005)
    for _ in range(20):
        before = int.from_bytes(count[:8], "little")
        with lock:
            print(int.from_bytes(count[:8], "little") - before)
        time.sleep(0.01)
"""


def test_who_waits_for_the_lock_is_not_passed_by_who_has_just_had_it(tmp_path: Path) -> None:
    (tmp_path / "turns").write_bytes(bytes(8))
    command = [sys.executable, "-c", TAKE_TURNS, str(BACKEND), str(tmp_path)]
    greedy = subprocess.Popen([*command, "greedy"], stdout=subprocess.PIPE)
    try:
        assert greedy.stdout is not None
        assert greedy.stdout.readline() == b"ready\n"
        patient = subprocess.check_output([*command, "patient"], timeout=600, text=True)
    finally:
        greedy.kill()
        greedy.communicate()
    passed = sorted(map(int, patient.split()))
    assert len(passed) == 20
    # The one that has it when we come, and one more where it was on the doorstep before us; a busy
    # machine may keep us from the doorstep for longer, but not often.
    assert passed[len(passed) // 2] <= 2, passed


def test_two_servers_beside_each_other_do_not_wait_for_each_other(
    server: triton.InferenceServerClient, cores: Path, tmp_path: Path
) -> None:
    add_model(tmp_path, "locked", batch_size_graph(), parameters=parameter("CORES_LOCK", "1"))
    add_ensemble(tmp_path, "locked")
    with cores.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with EmbeddedServer(tmp_path, device="cpu") as other:
            client = triton.InferenceServerClient(other.grpc_address)
            assert ask(client, "locked", X=rows(1)).shape == (1, 4)
            client.close()


def test_bf16_is_refused_where_the_cpu_has_none(tmp_path: Path) -> None:
    bf16 = parameter("INFERENCE_PRECISION_HINT", "bf16")
    add_model(tmp_path, "brief", batch_size_graph(), parameters=bf16)
    add_ensemble(tmp_path, "brief")
    if cpu().bf16:
        with EmbeddedServer(tmp_path, device="cpu") as able:
            assert able.wait_ready().name == "tiny"
        return
    with pytest.raises(ServeFailed, match="brief does not load: this CPU has no bf16"):
        EmbeddedServer(tmp_path, device="cpu").__enter__()
