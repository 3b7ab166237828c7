"""The generated configuration: what Triton reads back, and that it follows from the spec alone."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from cxrclient.serving import shipped_repositories
from cxrclient.wire import Finding
from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository import (
    ADMISSION,
    ENSEMBLE,
    PREPROCESS,
    RepositorySpec,
    ServedCalibration,
    ServedPoint,
    ServedReference,
    check_repository,
    model_digest,
)
from cxrexport.repository.configs import configuration_texts, parse

GRAPHS = graphs_of(DEFAULT_MEMBERS)

COMMITTED = Path(__file__).parents[2] / "model_repository"
SPEC = RepositorySpec(
    model_name="test",
    preprocessing=PreprocessingSpec(size_px=64),
    labels=("other", "covid"),
    threshold=0.5,
    notice='Random weights; "quoted", with an umlaut: ü.',
)
HASHES = {graph: f"{number:064x}" for number, graph in enumerate(GRAPHS)}
TEXTS = configuration_texts(SPEC, "d" * 64)
CONFIGS = {name: parse(text) for name, text in TEXTS.items()}


@pytest.mark.parametrize("name", shipped_repositories())
def test_shipped_configuration_is_what_the_code_generates(name: str) -> None:
    assert check_repository(shipped_repositories()[name]) == []


def test_a_finding_is_a_parameter_of_the_ensemble_and_in_no_digest() -> None:
    finding = Finding("SCT", "56717001", "Tuberculosis")
    spec = dataclasses.replace(SPEC, finding=finding)
    assert "finding" not in CONFIGS["cxr/config.pbtxt"].parameters
    texts = configuration_texts(spec, "d" * 64)
    told = parse(texts["cxr/config.pbtxt"]).parameters["finding"].string_value
    assert json.loads(told) == dataclasses.asdict(finding)
    assert {name for name in TEXTS if TEXTS[name] != texts[name]} == {"cxr/config.pbtxt"}
    assert model_digest(HASHES, spec) == model_digest(HASHES, SPEC)
    assert RepositorySpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert {"finding", "weights"}.isdisjoint(SPEC.to_dict())


def test_the_committed_graphs_are_all_there_and_24_mb_at_most() -> None:
    sizes = {path.parts[-3]: path.stat().st_size for path in COMMITTED.glob("*/1/model.onnx")}
    assert set(sizes) == set(GRAPHS)
    assert sum(sizes.values()) <= 24_000_000


def test_every_default_member_can_be_trained() -> None:
    from cxrexport.networks import ARCHITECTURES  # torch, for this test alone

    assert set(DEFAULT_MEMBERS) <= set(ARCHITECTURES)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_reads_back_with_the_tensors_of_its_model(name: str) -> None:
    config = CONFIGS[name]
    edges = SPEC.edges(config.name)
    assert config.name == name.split("/")[0]
    for found, expected in ((config.input, edges.inputs), (config.output, edges.outputs)):
        assert [(tensor.name, tuple(tensor.dims)) for tensor in found] == [
            (tensor.name, tensor.dims) for tensor in expected
        ]
        assert [pb.DataType.Name(tensor.data_type) for tensor in found] == [
            f"TYPE_{tensor.dtype}" for tensor in expected
        ]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_model_is_pinned_to_version_1_and_batches_16(name: str) -> None:
    config = CONFIGS[name]
    assert list(config.version_policy.specific.versions) == [1]
    assert config.max_batch_size == 16


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_is_tensorrt_on_the_gpu_and_openvino_on_the_cpu(graph: str) -> None:
    gpu, cpu = CONFIGS[f"{graph}/config.pbtxt"], CONFIGS[f"{graph}/configs/cpu.pbtxt"]
    assert (gpu.backend, gpu.default_model_filename) == ("tensorrt", "model.plan")
    assert (cpu.backend, cpu.default_model_filename) == ("openvino", "model.onnx")
    assert gpu.instance_group[0].kind == pb.ModelInstanceGroup.KIND_GPU
    assert cpu.instance_group[0].kind == pb.ModelInstanceGroup.KIND_CPU


def test_every_model_but_the_ensemble_is_warmed_up_with_its_own_tensors() -> None:
    for name, config in CONFIGS.items():
        if config.name == ENSEMBLE:
            continue
        # On the CPU films are computed one by one: batching them would only keep them waiting.
        batched = config.backend != "openvino" and config.name != ADMISSION
        assert config.HasField("dynamic_batching") == batched, name
        assert config.model_warmup, name
        for warmup in config.model_warmup:
            assert set(warmup.inputs) == {tensor.name for tensor in config.input}, name


def test_every_tensor_of_the_ensemble_is_made_before_it_is_used_and_fits() -> None:
    ensemble = CONFIGS[f"{ENSEMBLE}/config.pbtxt"]
    known = {t.name: (t.data_type, tuple(t.dims)) for t in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        model = CONFIGS[f"{step.model_name}/config.pbtxt"]
        assert set(step.input_map) == {tensor.name for tensor in model.input}
        for tensor in model.input:
            assert known[step.input_map[tensor.name]] == (tensor.data_type, tuple(tensor.dims))
        outputs = {t.name: (t.data_type, tuple(t.dims)) for t in model.output}
        for tensor, target in step.output_map.items():
            assert target not in known, f"{target} is made twice"
            known[target] = outputs[tensor]
    for tensor in ensemble.output:
        assert known[tensor.name] == (tensor.data_type, tuple(tensor.dims))


def test_the_average_gets_each_members_own_logits_and_cam() -> None:
    ensemble = CONFIGS[f"{ENSEMBLE}/config.pbtxt"]
    steps = {step.model_name: step for step in ensemble.ensemble_scheduling.step}
    for member in DEFAULT_MEMBERS:
        for tensor in ("LOGITS", "CAM"):
            made = steps[member].output_map[tensor]
            assert steps["average"].input_map[f"{tensor}_{member.upper()}"] == made
    embedding = steps[ADMISSION].input_map["EMBEDDING"]
    kept = [m for m in DEFAULT_MEMBERS if "EMBEDDING" in steps[m].output_map]
    assert kept == ["resnet50"]
    assert steps["resnet50"].output_map["EMBEDDING"] == embedding
    assert steps[ADMISSION].output_map["EMBEDDING"] == "EMBEDDING"


def test_the_ensemble_tells_clients_all_they_need() -> None:
    parameters = {
        key: value.string_value for key, value in CONFIGS["cxr/config.pbtxt"].parameters.items()
    }
    assert json.loads(parameters.pop("labels")) == ["other", "covid"]
    assert json.loads(parameters.pop("members")) == list(DEFAULT_MEMBERS)
    assert float(parameters.pop("threshold")) == 0.5
    assert json.loads(parameters.pop("operating_points")) == []
    del parameters["admission"]
    assert parameters == {
        "operating_point": "null",
        "calibration": "null",
        "image_size_px": "64",
        "embedding_size": "128",
        "preprocessing_digest": SPEC.preprocessing.digest,
        "model_digest": "d" * 64,
        "model_name": "test",
        "notice": SPEC.notice,
    }


CALIBRATION = ServedCalibration(
    temperatures=(0.5, 1.0, 2.0, 4.0),
    points=(
        ServedPoint("sensitivity 95 %", 0.25, "sensitivity", 0.95, "the threshold rests on one"),
        ServedPoint("Youden", 0.375, "youden", None),
    ),
    point="sensitivity 95 %",
    fitted_on="validation",
    films=80,
    positives=33,
)


def test_a_calibrated_ensemble_tells_its_operating_points_and_what_they_were_fitted_on() -> None:
    spec = dataclasses.replace(SPEC, threshold=0.25, calibration=CALIBRATION)
    texts = configuration_texts(spec, "d" * 64)
    config = parse(texts["cxr/config.pbtxt"])
    told = {key: config.parameters[key].string_value for key in config.parameters}
    assert float(told["threshold"]) == 0.25
    assert json.loads(told["operating_point"]) == "sensitivity 95 %"
    first, second = json.loads(told["operating_points"])
    assert first == {
        "name": "sensitivity 95 %",
        "threshold": 0.25,
        "rule": "sensitivity",
        "target": 0.95,
        "reason": "the threshold rests on one",
    }
    assert (second["name"], second["threshold"], second["target"]) == ("Youden", 0.375, None)
    assert json.loads(told["calibration"]) == {
        "temperatures": [0.5, 1.0, 2.0, 4.0],
        "fitted_on": "validation",
        "films": 80,
        "positives": 33,
    }


def test_a_calibrated_spec_reads_back_from_json() -> None:
    spec = dataclasses.replace(SPEC, threshold=0.25, calibration=CALIBRATION)
    assert RepositorySpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_spec_of_before_there_was_calibration_has_none() -> None:
    values = SPEC.to_dict()
    del values["calibration"]
    assert RepositorySpec.from_dict(values) == SPEC


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"point": "specificity 95 %"}, "none of the operating points"),
        ({"temperatures": ()}, "must be positive"),
        ({"temperatures": (1.0, 1.0, 1.0, 0.0)}, "must be positive"),
        ({"points": CALIBRATION.points * 2}, "one name"),
    ],
)
def test_an_impossible_calibration_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(CALIBRATION, **changes)


def test_a_threshold_that_is_not_the_operating_points_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold 0\.5 is not"):
        dataclasses.replace(SPEC, calibration=CALIBRATION)


REFERENCE = ServedReference(
    sha256="a" * 64,
    model_digest="d" * 64,
    films=500,
    patients=300,
    sources={"here": 500},
    false_alarm_rate=0.005,
)


def told_of_admission(spec: RepositorySpec) -> dict[str, Any]:
    config = parse(configuration_texts(spec, "d" * 64)["cxr/config.pbtxt"])
    told: dict[str, Any] = json.loads(config.parameters["admission"].string_value)
    return told


def test_the_ensemble_tells_which_codes_turn_a_film_away_in_which_order() -> None:
    told = told_of_admission(dataclasses.replace(SPEC, reference=REFERENCE))
    actions = [(code["code"], code["action"]) for code in told["codes"]]
    assert actions == [
        ("WRONG_MODALITY", "reject"),
        ("LATERAL_VIEW", "reject"),
        ("POLARITY_SUSPECT", "reject"),
        ("NO_LUNGS", "reject"),
        ("NOT_A_CHEST_FILM", "reject"),
        ("RECTANGULAR_ARTEFACT", "reject"),
        ("OUT_OF_DISTRIBUTION", "reject"),
        ("BURNED_IN_ANNOTATION", "warn"),
        ("MODALITY_OTHER", "warn"),
        ("BODY_PART_OTHER", "warn"),
    ]
    assert all(code["sentence"].endswith(".") for code in told["codes"])
    assert told["reference"] == dataclasses.asdict(REFERENCE)
    assert told["not_judged"] == []


def test_without_a_reference_the_ensemble_says_what_it_cannot_judge() -> None:
    told = told_of_admission(SPEC)
    assert told["reference"] is None
    assert told["not_judged"] == ["POLARITY_SUSPECT", "NO_LUNGS", "OUT_OF_DISTRIBUTION"]
    assert not {code["code"] for code in told["codes"]} & set(told["not_judged"])


def test_the_admission_step_is_told_which_reference_is_its_own() -> None:
    for spec, expected in (
        (SPEC, "none"),
        (dataclasses.replace(SPEC, reference=REFERENCE), "a" * 64),
    ):
        config = parse(configuration_texts(spec, "d" * 64)["admission/config.pbtxt"])
        assert config.parameters["reference_sha256"].string_value == expected


def test_a_spec_with_a_reference_reads_back_from_json() -> None:
    spec = dataclasses.replace(SPEC, reference=REFERENCE)
    assert RepositorySpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


SPECS = {
    "as it is": SPEC,
    "full size": dataclasses.replace(SPEC, preprocessing=PreprocessingSpec(size_px=1024)),
    "another embedding": dataclasses.replace(SPEC, embedding_size=7, max_batch_size=1),
    "calibrated": dataclasses.replace(SPEC, threshold=0.25, calibration=CALIBRATION),
    "with a reference": dataclasses.replace(SPEC, reference=REFERENCE),
}


@pytest.mark.parametrize("name", SPECS)
def test_no_tensor_of_the_ensemble_is_both_an_output_and_an_input_of_a_step(name: str) -> None:
    ensemble = parse(configuration_texts(SPECS[name], "d" * 64)["cxr/config.pbtxt"])
    steps = ensemble.ensemble_scheduling.step
    public = {tensor.name for tensor in ensemble.output}
    consumed = {tensor for step in steps for tensor in step.input_map.values()}
    made = {tensor for step in steps for tensor in step.output_map.values()}
    assert public & consumed == set(), "Triton would leave out the step that makes it"
    assert made == public | consumed - {"IMAGE"}, "Triton refuses what nobody takes"


def test_preprocess_carries_the_spec_it_was_built_with() -> None:
    parameters = CONFIGS[f"{PREPROCESS}/config.pbtxt"].parameters
    spec = json.loads(parameters["preprocessing_spec"].string_value)
    assert PreprocessingSpec.from_dict(spec) == SPEC.preprocessing
    assert parameters["preprocessing_digest"].string_value == SPEC.preprocessing.digest


def test_another_process_writes_the_same_text() -> None:
    program = (
        "import sys, json; from cxrexport.repository import RepositorySpec as R;"
        "from cxrexport.repository.write import generated_files as g; import hashlib;"
        "spec, hashes = json.load(sys.stdin); files = g(R.from_dict(spec), hashes);"
        "print({name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)})"
    )
    content = json.dumps([SPEC.to_dict(), HASHES])
    written = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=content,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(written) == 1


def test_the_spec_survives_json() -> None:
    assert RepositorySpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_name": " "}, "model_name"),
        ({"labels": ("covid", "covid")}, "labels"),
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"notice": ""}, "notice"),
        ({"embedding_size": 0}, "embedding_size"),
        ({"max_batch_size": 0}, "max_batch_size"),
    ],
)
def test_a_spec_that_no_repository_can_have_is_refused(
    change: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        dataclasses.replace(SPEC, **change)  # type: ignore[arg-type]


def test_an_unknown_key_in_the_spec_is_refused() -> None:
    with pytest.raises(ValueError, match="surprise"):
        RepositorySpec.from_dict({**SPEC.to_dict(), "surprise": 1})


def test_the_model_digest_names_graphs_preprocessing_and_labels_and_nothing_else() -> None:
    digest = model_digest(HASHES, SPEC)
    other_graph = {**HASHES, "vgg16": "f" * 64}
    other_input = dataclasses.replace(SPEC.preprocessing, clahe_clip_limit=3.0)
    others = {
        model_digest(other_graph, SPEC),
        model_digest(HASHES, dataclasses.replace(SPEC, preprocessing=other_input)),
        model_digest(HASHES, dataclasses.replace(SPEC, labels=("other", "tb"))),
    }
    assert digest not in others
    assert len(others) == 3
    assert digest == model_digest(dict(reversed(HASHES.items())), SPEC)
    other_words = dataclasses.replace(SPEC, model_name="x", notice="y", threshold=0.25)
    assert digest == model_digest(HASHES, other_words)
