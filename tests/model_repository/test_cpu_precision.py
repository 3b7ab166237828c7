"""The CPU's configurations in each precision, and what the committed repository has of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository import RepositorySpec
from cxrexport.repository.configs import configuration_texts, parse
from cxrexport.repository.quantised import Quantised, int8_files

GRAPHS = graphs_of(DEFAULT_MEMBERS)

COMMITTED = Path(__file__).parents[2] / "model_repository"
SPEC = RepositorySpec("test", PreprocessingSpec(size_px=64), ("other", "covid"), 0.5, "Random.")
QUANTISED = Quantised(
    files={name: "0" * 64 for graph in DEFAULT_MEMBERS for name in int8_files(graph)},
    model_digest="d" * 64,
    method="by hand",
    calibration_films=300,
    calibration_digest="c" * 64,
    judged_films=80,
    judged_positives=33,
    auc_f32=0.9,
    auc_int8=0.8975,
    largest_difference=0.04,
    mean_difference=0.004,
    labels_changed=1,
)
PLAIN = configuration_texts(SPEC, "d" * 64)
INT8 = configuration_texts(dataclasses.replace(SPEC, quantised=QUANTISED), "d" * 64)


def parameters(text: str) -> dict[str, str]:
    config = parse(text)
    return {key: config.parameters[key].string_value for key in config.parameters}


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_graph_says_its_precision_and_only_the_average_needs_no_cores(graph: str) -> None:
    f32 = parameters(PLAIN[f"{graph}/configs/cpu.pbtxt"])
    bf16 = parameters(PLAIN[f"{graph}/configs/cpu-bf16.pbtxt"])
    average = graph == "average"
    assert f32["INFERENCE_PRECISION_HINT"] == "f32"
    assert bf16["INFERENCE_PRECISION_HINT"] == ("f32" if average else "bf16")
    for told in (f32, bf16):
        assert told.get("CORES_LOCK") == (None if average else "1")
        assert told.get("INFERENCE_NUM_THREADS") == ("1" if average else None)


def test_the_precisions_differ_in_nothing_else() -> None:
    for graph in GRAPHS:
        f32 = PLAIN[f"{graph}/configs/cpu.pbtxt"]
        hint = '"INFERENCE_PRECISION_HINT"\n  value {\n    string_value: '
        assert hint + '"f32"' in f32
        expected = f32 if graph == "average" else f32.replace(hint + '"f32"', hint + '"bf16"')
        assert PLAIN[f"{graph}/configs/cpu-bf16.pbtxt"] == expected


def test_there_is_an_int8_configuration_where_the_repository_was_quantised_only() -> None:
    assert not [name for name in PLAIN if "int8" in name]
    added = set(INT8) - set(PLAIN)
    assert added == {f"{graph}/configs/cpu-int8.pbtxt" for graph in GRAPHS}
    assert {name: INT8[name] for name in PLAIN} == PLAIN


@pytest.mark.parametrize("graph", GRAPHS)
def test_int8_reads_the_int8_graph_where_there_is_one_and_computes_the_rest_in_f32(
    graph: str,
) -> None:
    config = parse(INT8[f"{graph}/configs/cpu-int8.pbtxt"])
    expected = "model.int8.xml" if graph in DEFAULT_MEMBERS else "model.onnx"
    assert config.default_model_filename == expected
    assert config.parameters["INFERENCE_PRECISION_HINT"].string_value == "f32"


def test_the_record_of_an_int8_variant_survives_json() -> None:
    spec = dataclasses.replace(SPEC, quantised=QUANTISED)
    assert RepositorySpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_repository_from_before_there_was_int8_has_none() -> None:
    values = SPEC.to_dict()
    del values["quantised"]
    assert RepositorySpec.from_dict(values) == SPEC


def test_an_unknown_key_of_the_record_is_refused() -> None:
    values = dataclasses.replace(SPEC, quantised=QUANTISED).to_dict()
    values["quantised"]["surprise"] = 1
    with pytest.raises(TypeError, match="surprise"):
        RepositorySpec.from_dict(values)


def test_the_committed_repository_has_both_precisions_that_need_no_films() -> None:
    found = {path.name for path in COMMITTED.glob("*/configs/*.pbtxt")}
    assert found == {"cpu.pbtxt", "cpu-bf16.pbtxt"}
