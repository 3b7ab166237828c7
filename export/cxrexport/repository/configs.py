"""config.pbtxt of every model, built with Triton's own protobuf messages.

`config.pbtxt` is the GPU's (TensorRT). `configs/cpu.pbtxt` is the CPU's (OpenVINO), which Triton
reads under `--model-config-name cpu`; where a model has none, it falls back to config.pbtxt
(docs/adr/0002), so `preprocess`, `admission` and `cxr`, which are equal on both, have one file.
Beside it lie `cpu-bf16.pbtxt` and, in a repository that was quantised, `cpu-int8.pbtxt`
(docs/adr/0013).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from cxrclient.serving import CpuPrecision
from cxrexport.ensemble import AVERAGE, DEFAULT_MEMBERS, SEGMENT, of_member
from cxrexport.repository.quantised import INT8_GRAPH
from cxrexport.repository.reference import admission_parameter
from cxrexport.repository.spec import (
    ADMISSION,
    ENSEMBLE,
    PREPROCESS,
    RepositorySpec,
    Tensor,
)

CPU_CONFIGURATIONS: dict[CpuPrecision, str] = {
    "f32": "cpu.pbtxt",
    "bf16": "cpu-bf16.pbtxt",
    "int8": "cpu-int8.pbtxt",
}
"""Precision on the CPU → the file in a graph's `configs` folder."""

WARMUP_FILM = "film.bytes"
"""The file in `preprocess/warmup/`: one BYTES element, that is, its length and a DICOM object."""

MAX_QUEUE_DELAY_US = 500
"""How long a film waits for others: below 1 % of one film's time on a GPU or a CPU."""
PREPROCESS_INSTANCES = 2
"""Films decoded side by side while the graphs are busy with the ones before."""

_HEADER = "# Written by `cxrexport build`; do not edit: `cxrexport check` compares.\n"


def configuration_texts(spec: RepositorySpec, model_digest: str) -> dict[str, str]:
    """Return every configuration file: path relative to the repository → text."""
    texts = {
        f"{PREPROCESS}/config.pbtxt": _render(_preprocess(spec)),
        f"{ADMISSION}/config.pbtxt": _render(_admission(spec)),
        f"{ENSEMBLE}/config.pbtxt": _render(_ensemble(spec, model_digest)),
    }
    for graph in spec.graphs:
        texts[f"{graph}/config.pbtxt"] = _render(_gpu_graph(spec, graph))
        for precision, name in CPU_CONFIGURATIONS.items():
            if precision != "int8" or spec.quantised is not None:
                texts[f"{graph}/configs/{name}"] = _render(_cpu_graph(spec, graph, precision))
    return texts


def parse(text: str) -> Any:
    """Read a configuration file back into a `ModelConfig`; bad text raises ValueError."""
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(f"not a Triton configuration: {error}") from error


def _render(config: Any) -> str:
    text: str = text_format.MessageToString(config, as_utf8=True)
    return _HEADER + text


def _base(spec: RepositorySpec, model: str) -> Any:
    config = pb.ModelConfig(name=model, max_batch_size=spec.max_batch_size)
    config.version_policy.specific.versions.append(1)
    edges = spec.edges(model)
    for tensor in edges.inputs:
        config.input.add(name=tensor.name, data_type=_data_type(tensor), dims=tensor.dims)
    for tensor in edges.outputs:
        config.output.add(name=tensor.name, data_type=_data_type(tensor), dims=tensor.dims)
    return config


def _data_type(tensor: Tensor) -> Any:
    return pb.DataType.Value(f"TYPE_{tensor.dtype}")


def _set_parameters(config: Any, parameters: Iterable[tuple[str, str]]) -> None:
    for key, value in parameters:
        config.parameters[key].string_value = value


def _preprocess(spec: RepositorySpec) -> Any:
    config = _base(spec, PREPROCESS)
    config.backend = "python"
    config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=PREPROCESS_INSTANCES)
    config.dynamic_batching.max_queue_delay_microseconds = MAX_QUEUE_DELAY_US
    warmup = config.model_warmup.add(name="one drawn film", batch_size=1)
    image = warmup.inputs["IMAGE"]
    image.data_type = pb.TYPE_STRING
    image.dims.append(1)
    image.input_data_file = WARMUP_FILM
    _set_parameters(
        config,
        (
            ("preprocessing_spec", json.dumps(spec.preprocessing.to_dict(), sort_keys=True)),
            ("preprocessing_digest", spec.preprocessing.digest),
        ),
    )
    return config


def _admission(spec: RepositorySpec) -> Any:
    # One instance, and no dynamic batcher: a film takes it a millisecond or two.
    config = _base(spec, ADMISSION)
    config.backend = "python"
    config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)
    _warm_up(config, spec, [1])
    digest = "none" if spec.reference is None else spec.reference.sha256
    _set_parameters(config, [("reference_sha256", digest)])
    return config


def _gpu_graph(spec: RepositorySpec, graph: str) -> Any:
    config = _base(spec, graph)
    config.dynamic_batching.max_queue_delay_microseconds = MAX_QUEUE_DELAY_US
    config.backend = "tensorrt"
    config.default_model_filename = "model.plan"
    config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_GPU, count=1)
    # TensorRT sets up each batch size lazily; a full batch would make the first burst wait.
    _warm_up(config, spec, sorted({1, spec.max_batch_size}))
    return config


def _cpu_graph(spec: RepositorySpec, graph: str, precision: CpuPrecision) -> Any:
    # No dynamic batcher: films are computed one by one, so it would only hold them back until the
    # last of the batch is done, and 128 MB of shared memory a graph with them (docs/adr/0013).
    config = _base(spec, graph)
    config.backend = "openvino"
    quantised = spec.quantised is not None and graph in spec.quantised.graphs
    int8 = precision == "int8" and quantised
    config.default_model_filename = INT8_GRAPH if int8 else "model.onnx"
    config.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=1)
    # In an int8 graph this is the precision of what is not int8. The average decides the label.
    hint = "bf16" if precision == "bf16" and graph != AVERAGE else "f32"
    parameters = [
        # Names of the official backend; it ignores those from the third on, ours obeys them.
        ("PERFORMANCE_HINT", "LATENCY"),
        ("NUM_STREAMS", "1"),
        # Without it OpenVINO computes in bfloat16 wherever the CPU can.
        ("INFERENCE_PRECISION_HINT", hint),
        # As fast as whole batches on a CPU, and batched equals one by one (docs/adr/0002).
        ("FILMS_PER_INFERENCE", "1"),
    ]
    if graph == AVERAGE:
        # Microseconds of work: it neither needs the cores nor waits for them.
        parameters.append(("INFERENCE_NUM_THREADS", "1"))
    else:
        parameters.append(("CORES_LOCK", "1"))
    _set_parameters(config, parameters)
    _warm_up(config, spec, [1])
    return config


def _warm_up(config: Any, spec: RepositorySpec, batches: Iterable[int]) -> None:
    for batch in batches:
        warmup = config.model_warmup.add(name=f"batch of {batch}", batch_size=batch)
        for tensor in spec.edges(config.name).inputs:
            sample = warmup.inputs[tensor.name]
            sample.data_type = _data_type(tensor)
            sample.dims.extend(tensor.dims)
            sample.zero_data = True


def _ensemble(spec: RepositorySpec, model_digest: str) -> Any:
    config = _base(spec, ENSEMBLE)
    config.platform = "ensemble"
    # Triton leaves out a step whose public outputs nobody asked for, even where another step needs
    # them, and answers "unexpected deadlock" (core's ensemble_scheduler.cc). So no tensor is both
    # public and a step's input: `admission`, which no step waits for, hands on what clients get.
    film = {"CXR": of_member("CXR", PREPROCESS)}
    _step(config, PREPROCESS, {"IMAGE": "IMAGE"}, ("CXR", "HEADER_FLAGS"), public=("GEOMETRY",))
    _step(config, SEGMENT, film, ("LUNGS",))
    maps = {**film, "LUNGS": of_member("LUNGS", SEGMENT)}
    votes = {}
    for member in spec.members:
        for tensor in ("LOGITS", "CAM"):
            votes[of_member(tensor, member)] = of_member(tensor, member)
        kept = ("EMBEDDING",) if member == spec.embedder else ()
        _step(config, member, maps, ("LOGITS", "CAM", *kept))
    _step(config, AVERAGE, votes, public=_names(spec.edges(AVERAGE).outputs))
    judged = {
        **maps,
        "HEADER_FLAGS": of_member("HEADER_FLAGS", PREPROCESS),
        "EMBEDDING": of_member("EMBEDDING", spec.embedder),
    }
    _step(config, ADMISSION, judged, public=_names(spec.edges(ADMISSION).outputs))
    calibration = None if spec.calibration is None else asdict(spec.calibration)
    points = [] if calibration is None else calibration.pop("points")
    point = None if calibration is None else calibration.pop("point")
    _set_parameters(
        config,
        (
            ("labels", json.dumps(list(spec.labels))),
            ("threshold", repr(spec.threshold)),
            ("operating_point", json.dumps(point)),
            ("operating_points", json.dumps(points)),
            ("calibration", json.dumps(calibration)),
            ("image_size_px", str(spec.preprocessing.size_px)),
            ("embedding_size", str(spec.embedding_size)),
            ("members", json.dumps(list(spec.members))),
            ("preprocessing_digest", spec.preprocessing.digest),
            ("model_digest", model_digest),
            ("model_name", spec.model_name),
            ("notice", spec.notice),
            ("admission", admission_parameter(spec.reference)),
            # Where it is not said, it is that of the default members: resnet50.
            *([("embedder", spec.embedder)] if spec.members != DEFAULT_MEMBERS else ()),
            *(
                [("finding", json.dumps(asdict(spec.finding), ensure_ascii=False))]
                if spec.finding is not None
                else ()
            ),
        ),
    )
    return config


def _names(tensors: Iterable[Tensor]) -> tuple[str, ...]:
    return tuple(tensor.name for tensor in tensors)


def _step(
    config: Any,
    model: str,
    inputs: dict[str, str],
    inside: Iterable[str] = (),
    public: Iterable[str] = (),
) -> None:
    """Add one step.

    Args:
        config: the ensemble's.
        model: the step's.
        inputs: the model's tensor → the ensemble's.
        inside: outputs for other steps; clients cannot ask for them.
        public: outputs for clients; no step may take them.
    """
    step = config.ensemble_scheduling.step.add(model_name=model, model_version=1)
    for tensor, source in inputs.items():
        step.input_map[tensor] = source
    for tensor in inside:
        step.output_map[tensor] = of_member(tensor, model)
    for tensor in public:
        step.output_map[tensor] = tensor
