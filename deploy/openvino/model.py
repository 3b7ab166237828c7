"""Triton Python-based backend `openvino`: runs ONNX graphs with OpenVINO on the CPU.

Triton takes any `<backend-directory>/NAME/model.py` for the backend NAME. The official OpenVINO
backend is not in every Triton build (the PyPI one has none); this file gives those builds a backend
of the same name that reads the same model configuration. It needs `openvino` and numpy in the
environment of Triton's Python stub, and nothing else.

Parameters of the model configuration (all optional; the first three are the official backend's,
which ignores the others; INFERENCE_PRECISION_HINT is OpenVINO's own name):

    PERFORMANCE_HINT           LATENCY (default) or THROUGHPUT
    NUM_STREAMS                default 1: all threads work on one inference
    INFERENCE_NUM_THREADS      default: the cores this process may use
    INFERENCE_PRECISION_HINT   f32 (default), bf16 or f16; bf16 is refused where the CPU has none
    FILMS_PER_INFERENCE        default 0: a batch is one inference; N: at most N of its films at a
                               time. On a CPU 1 is as fast as any, takes a fraction of the memory,
                               and a film's result does not depend on others (docs/adr/0002)
    CORES_LOCK                 1: no inference while another model process of the same server, that
                               has it too, is in one. Each has as many threads as there are cores;
                               side by side they wait for each other's (docs/adr/0013). Default 0

The lock's files lie in $CXR_SERVER_DIRECTORY, which `cxrclient serve` sets, else in a folder of the
system's temporary directory that is named after the server's process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import json
import logging
import math
import mmap
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def _close_shared_memory() -> None:
    """Take from other users the right to read the region that films pass through to this process.

    Triton makes it with mode 0644, whatever the umask (cxrexport/shared_memory.py says more).
    """
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        _, found, name = line.partition(" /dev/shm/")
        if found:
            with contextlib.suppress(FileNotFoundError):  # nobody can open it any more
                Path("/dev/shm", name).chmod(0o600)  # noqa: S108  # where POSIX puts it


_close_shared_memory()  # first: what follows takes seconds to import

# What converts models, and telemetry with it: three quarters of OpenVINO's import, in each of seven
# processes. OpenVINO goes on without.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]

import numpy as np  # noqa: E402
import openvino as ov  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""A container's CPU quota: "QUOTA PERIOD" in microseconds, or "max PERIOD"."""

_LARGE_BYTES = 16 << 20
"""Of a graph's file: what larger ones hold twice is worth a second compilation."""
_SCRATCH = Path("/var/tmp")  # noqa: S108  # on a disk, which /tmp often is not
_logger = logging.getLogger(__name__)

_OPENVINO_TYPES = {"TYPE_FP32": "f32", "TYPE_FP16": "f16", "TYPE_INT32": "i32", "TYPE_INT64": "i64"}


class CoresLock:
    """Held during an inference: one at a time among the processes that share a folder.

    Two locks, a doorstep and the room behind it. A process waits for the room on the doorstep, and
    nobody passes it there: with one lock, a process that has just left would take it again before
    those that wait have woken up, batch after batch. The kernel opens the locks of a process that
    ends, however it ends, so none outlives its holder.

    Args:
        folder: where the two files lie; made if need be, readable for this user alone.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._doorstep = os.open(folder / "doorstep.lock", flags, 0o600)
        self._room = os.open(folder / "cores.lock", flags, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._doorstep, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._doorstep, fcntl.LOCK_UN)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._room, fcntl.LOCK_UN)


def server_directory() -> Path:
    """The folder that the model processes of one server share, and no other server's."""
    given = os.environ.get("CXR_SERVER_DIRECTORY")
    # Triton starts each model process itself, so they have one parent.
    name = f"cxr-cores-{os.getuid()}-{os.getppid()}"
    return Path(given) if given else Path(tempfile.gettempdir()) / name


class TritonPythonModel:
    """One instance of one graph; Triton calls the three methods."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile the graph, and refuse one that does not have the configured tensors."""
        config = json.loads(args["model_config"])
        filename = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / filename
        if not path.is_file():
            raise pb_utils.TritonModelException(
                f"{filename} is missing in version {args['model_version']} of model "
                f"'{args['model_name']}'; put the graph there or build the repository again"
            )
        parameters = {key: v["string_value"] for key, v in config.get("parameters", {}).items()}
        core = ov.Core()
        try:
            graph = core.read_model(path)
        except RuntimeError as error:
            raise pb_utils.TritonModelException(
                f"OpenVINO cannot read {filename} ({_last_line(error)}); build the repository again"
            ) from error
        _check_tensors(graph, config)
        self._input_names = [tensor["name"] for tensor in config["input"]]
        self._output_names = [tensor["name"] for tensor in config["output"]]
        self._films_at_once = int(parameters.get("FILMS_PER_INFERENCE", "0"))
        self._cores = _cores(parameters)
        _require_precision(core, parameters)
        if self._films_at_once == 1:
            # A fixed shape lets OpenVINO plan memory and choose kernels before the first film.
            shapes = {port.any_name: port.get_partial_shape() for port in graph.inputs}
            graph.reshape({name: [1, *list(shape)[1:]] for name, shape in shapes.items()})
        properties = _properties(parameters)
        try:
            compiled = None
            if path.stat().st_size > _LARGE_BYTES:
                compiled = _compiled_with_weights_once(core, graph, properties)
            compiled = compiled or core.compile_model(graph, "CPU", properties)
        except RuntimeError as error:
            raise pb_utils.TritonModelException(
                f"OpenVINO cannot compile {filename} ({_last_line(error)})"
            ) from error
        self._request = compiled.create_infer_request()
        del graph
        _give_back_memory()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests that the dynamic batcher handed over: together, or film by film."""
        if self._films_at_once == 1 and len(requests) > 1:
            # Joining them would only copy: sixteen films and lung maps of 1024 px are 128 MB.
            return [response for request in requests for response in self.execute([request])]
        try:
            results = self._infer_all(requests)
        except Exception as error:
            if len(requests) > 1:
                # Too much memory for all of them may be enough for each; no one pays for another.
                return [response for request in requests for response in self.execute([request])]
            return [pb_utils.InferenceResponse(error=_error(error))]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor(n, a) for n, a in result.items()])
            for result in results
        ]

    def finalize(self) -> None:
        """Let go of the compiled graph before the interpreter goes."""
        self._request = None

    def _infer_all(self, requests: list[Any]) -> list[dict[str, np.ndarray]]:
        """Return per request: output name → array [films, ...]."""
        batches = [
            {
                name: pb_utils.get_input_tensor_by_name(request, name).as_numpy()
                for name in self._input_names
            }
            for request in requests
        ]
        joined = batches[0]
        if len(batches) > 1:
            joined = {n: np.concatenate([b[n] for b in batches]) for n in self._input_names}
        cuts = np.cumsum([0, *(len(batch[self._input_names[0]]) for batch in batches)])
        outputs = self._infer(joined, films=int(cuts[-1]))
        return [
            {name: array[start:stop] for name, array in outputs.items()}
            for start, stop in itertools.pairwise(cuts)
        ]

    def _infer(self, inputs: dict[str, np.ndarray], films: int) -> dict[str, np.ndarray]:
        """Run a batch, at most FILMS_PER_INFERENCE films at a time."""
        step = self._films_at_once or films
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, films, step):
            some = {name: array[start : start + step] for name, array in inputs.items()}
            with self._cores:
                # Not shared: views of OpenVINO's memory would show the next inference's film.
                results = self._request.infer(some, share_inputs=True, share_outputs=False)
            parts.append({name: results[name] for name in self._output_names})
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._output_names}


def _error(error: Exception) -> Any:
    return pb_utils.TritonError(
        f"INTERNAL: OpenVINO failed: {type(error).__name__}: {_last_line(error)}"
    )


def _compiled_with_weights_once(core: Any, graph: Any, properties: dict[str, str]) -> Any:
    """Compile with the weights in memory once instead of twice; None where that fails.

    A compiled graph holds its weights as they were and again as its kernels read them: 230 MB too
    much for a full-width ResNet152. One that OpenVINO reads back from its own cache maps the former
    from the cache's file, and nobody reads them once the kernels have theirs, so the kernel may
    forget those pages. The results are the same bits.
    """
    for scratch in (_SCRATCH, Path(tempfile.gettempdir())):
        try:
            with tempfile.TemporaryDirectory(dir=scratch, prefix="cxr-openvino-") as folder:
                cached = {**properties, "CACHE_DIR": folder}
                core.compile_model(graph, "CPU", cached)  # writes the cache
                compiled = core.compile_model(graph, "CPU", cached)
                if compiled.get_property("LOADED_FROM_CACHE"):
                    _forget_pages_of(Path(folder))
                return compiled
        except (OSError, RuntimeError) as error:  # no such folder, no right to write, no room
            _logger.info("%s holds no cache of a graph: %s", scratch, _last_line(error))
    return None


def _forget_pages_of(folder: Path) -> None:
    """Drop the pages of files mapped from a folder; what is read again comes from the disk."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        madvise = ctypes.CDLL(None).madvise
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            if f" {folder}/" in line and line.split()[1].startswith("r--"):
                first, end = (int(address, 16) for address in line.split()[0].split("-"))
                madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED)


def _give_back_memory() -> None:
    """Return to the kernel what compiling has freed: 100 MB of a full-width ResNet152."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _last_line(error: Exception) -> str:
    """OpenVINO's messages begin with where it noticed and end with what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _cores(parameters: dict[str, str]) -> contextlib.AbstractContextManager[None]:
    if parameters.get("CORES_LOCK", "0") != "1":
        return contextlib.nullcontext()
    try:
        return CoresLock(server_directory())
    except OSError as error:
        raise pb_utils.TritonModelException(
            f"the lock of the cores cannot be made ({error}); set CXR_SERVER_DIRECTORY to a folder "
            f"that the server's user can write"
        ) from error


def _require_precision(core: Any, parameters: dict[str, str]) -> None:
    """Refuse bf16 where the CPU has none: OpenVINO would compute in f32 and say nothing."""
    wanted = parameters.get("INFERENCE_PRECISION_HINT", "f32")
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if wanted == "bf16" and "BF16" not in able:
        raise pb_utils.TritonModelException(
            "this CPU has no bf16 instructions; serve with f32 or int8 (--precision, "
            "--model-config-name)"
        )


def _properties(parameters: dict[str, str]) -> dict[str, str]:
    threads = int(parameters.get("INFERENCE_NUM_THREADS", "0")) or _usable_cores()
    return {
        "PERFORMANCE_HINT": parameters.get("PERFORMANCE_HINT", "LATENCY"),
        "NUM_STREAMS": parameters.get("NUM_STREAMS", "1"),
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": parameters.get("INFERENCE_PRECISION_HINT", "f32"),
        # Where a fully connected layer's weights are stored as int8, OpenVINO would round what
        # meets them to int8 as well, whatever the line above says: 1e-2 in a logit.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    }


def _usable_cores() -> int:
    """Cores of the affinity mask, or fewer where a container's quota allows fewer."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CGROUP_LIMIT.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    if quota == "max":
        return cores
    return max(1, min(cores, math.ceil(int(quota) / int(period))))


def _check_tensors(graph: Any, config: dict[str, Any]) -> None:
    """Refuse a graph whose tensors are not the configured ones: name, type and shape."""
    for kind, ports in (("input", graph.inputs), ("output", graph.outputs)):
        found = {name: port for port in ports for name in port.get_names()}
        configured = {tensor["name"]: tensor for tensor in config[kind]}
        if missing := sorted(set(configured) - set(found)):
            raise pb_utils.TritonModelException(
                f"the graph has no {kind} {', '.join(missing)}; it has {', '.join(sorted(found))}"
            )
        if kind == "input" and len(ports) != len(configured):
            raise pb_utils.TritonModelException(
                f"the graph has {len(ports)} inputs, the configuration names {len(configured)}"
            )
        for name, tensor in configured.items():
            _check_tensor(kind, name, found[name], tensor, batched=config["max_batch_size"] > 0)


def _check_tensor(kind: str, name: str, port: Any, tensor: dict[str, Any], batched: bool) -> None:
    expected_type = _OPENVINO_TYPES.get(tensor["data_type"])
    if port.get_element_type().get_type_name() != expected_type:
        raise pb_utils.TritonModelException(
            f"{kind} {name} is {port.get_element_type().get_type_name()} in the graph, "
            f"{tensor['data_type']} in the configuration"
        )
    dims = [int(size) for size in tensor["dims"]]
    expected = ov.PartialShape([-1, *dims] if batched else dims)
    shape = port.get_partial_shape()
    if batched and shape.rank.is_static and not shape[0].is_dynamic:
        raise pb_utils.TritonModelException(
            f"{kind} {name} has a fixed batch of {shape[0]} in the graph; export it with a free one"
        )
    if not shape.compatible(expected):
        raise pb_utils.TritonModelException(
            f"{kind} {name} is {shape} in the graph, {expected} in the configuration"
        )
