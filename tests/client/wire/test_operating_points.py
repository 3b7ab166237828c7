"""What the client reads of a calibration, and what it tells the user."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from cxrclient.cli.output.results import result_writer
from cxrclient.wire.prediction import EnsembleInfo, OperatingPoint, Prediction

OLD = {
    "labels": '["normal", "tb"]',
    "threshold": "0.5",
    "image_size_px": "64",
    "embedding_size": "128",
    "members": '["resnet34", "vgg16"]',
    "preprocessing_digest": "e" * 64,
    "model_digest": "d" * 64,
    "model_name": "tiny",
    "notice": "Drawn for a test.",
}
POINTS = [
    {
        "name": "sensitivity 95 %",
        "threshold": 0.21875,
        "rule": "sensitivity",
        "target": 0.95,
        "reason": "the threshold rests on one film",
    },
    {"name": "Youden", "threshold": 0.5625, "rule": "youden", "target": None, "reason": None},
]
NEW = {
    **OLD,
    "threshold": "0.21875",
    "calibration": '{"temperatures": [1.5, 2.0], "films": 80}',
    "operating_points": json.dumps(POINTS),
    "operating_point": '"sensitivity 95 %"',
}


def test_a_server_of_before_there_was_calibration_has_none():
    info = EnsembleInfo.from_parameters(OLD)
    assert (info.calibrated, info.operating_points, info.operating_point) == (False, (), None)


def test_a_server_without_calibration_says_so():
    none = {"calibration": "null", "operating_points": "[]", "operating_point": "null"}
    info = EnsembleInfo.from_parameters({**OLD, **none})
    assert (info.calibrated, info.operating_points, info.operating_point) == (False, (), None)


def test_operating_points_are_read_and_one_is_in_force():
    info = EnsembleInfo.from_parameters(NEW)
    assert info.calibrated
    assert info.operating_points == (
        OperatingPoint(
            "sensitivity 95 %", 0.21875, "sensitivity", 0.95, "the threshold rests on one film"
        ),
        OperatingPoint("Youden", 0.5625, "youden", None),
    )
    assert info.operating_point == info.operating_points[0]


def test_a_calibrated_server_may_keep_a_plain_threshold():
    info = EnsembleInfo.from_parameters({**NEW, "threshold": "0.5", "operating_point": "null"})
    assert info.calibrated
    assert info.operating_point is None


@pytest.mark.parametrize(
    "damage",
    [
        {"operating_points": "[1]"},
        {"operating_points": '[{"name": "x"}]'},
        {"operating_points": "null"},
        {"operating_point": '"specificity 95 %"'},
        {"calibration": "{"},
    ],
)
def test_damaged_parameters_are_refused(damage):
    with pytest.raises(ValueError, match=r"operating_point|Expecting"):
        EnsembleInfo.from_parameters({**NEW, **damage})


def table(parameters: dict[str, str]) -> str:
    info = EnsembleInfo.from_parameters(parameters)
    stream = io.StringIO()
    writer = result_writer("table", stream, info)
    writer.add(
        Prediction(
            path="film.dcm",
            film_id="1.2.3",
            probability=0.3,
            label="tb",
            members={"resnet34": 0.3, "vgg16": 0.3},
            votes=0,
            lung_fraction=0.3,
            embedding=np.zeros(128, np.float32),
            flags=(),
            model=info.model,
            latency_ms=1.0,
        ),
        {},
    )
    writer.close()
    return " ".join(stream.getvalue().split())


def test_the_table_names_the_operating_point_that_makes_its_labels():
    text = table(NEW)
    assert "tb above 0.2188: operating point sensitivity 95 %" in text
    assert "the threshold rests on one film" in text
    assert "Drawn for a test." in text


def test_the_table_is_silent_where_there_is_none():
    text = table(OLD)
    assert "operating point" not in text
    assert "Drawn for a test." in text


def test_the_committed_repository_tells_the_client_what_it_was_built_with(model_repository: Path):
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as pb

    text = (model_repository / "cxr" / "config.pbtxt").read_text()
    parameters = text_format.Parse(text, pb.ModelConfig()).parameters
    info = EnsembleInfo.from_parameters({k: parameters[k].string_value for k in parameters})
    built = json.loads((model_repository / "repository.json").read_text())["spec"]
    assert info.threshold == built["threshold"]
    assert info.calibrated == (built["calibration"] is not None)
