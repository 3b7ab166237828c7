"""A server whose ensemble cannot be what the client needs."""

from __future__ import annotations

import json

import pytest

from answers_changed import DEEP, NAN, parameter
from cxrclient import CxrClient, Prediction, ServerUnfit

POINT = {"name": "a", "threshold": 0.5, "rule": "youden", "target": None, "reason": None}

UNFIT = {
    "no message": lambda _message: b"\xff\xff\xff\xff no message",
    "nothing": lambda _message: b"",
    "threshold NaN": parameter("threshold", "nan"),
    "threshold 7": parameter("threshold", "7"),
    "threshold -inf": parameter("threshold", "-inf"),
    "threshold no number": parameter("threshold", "half"),
    "labels the same": parameter("labels", '["a", "a"]'),
    "labels empty": parameter("labels", '["", "a"]'),
    "labels three": parameter("labels", '["a", "b", "c"]'),
    "labels numbers": parameter("labels", "[1, 2]"),
    "labels deep": parameter("labels", DEEP.decode()),
    "members none": parameter("members", "[]"),
    "members twice": parameter("members", '["a", "a"]'),
    "members empty": parameter("members", '[""]'),
    "image_size_px 0": parameter("image_size_px", "0"),
    "image_size_px 1e9": parameter("image_size_px", "1000000000"),
    "image_size_px -320": parameter("image_size_px", "-320"),
    "image_size_px of 5000 digits": parameter("image_size_px", "9" * 5000),
    "embedding_size 0": parameter("embedding_size", "0"),
    "embedding_size 1e9": parameter("embedding_size", "1000000000"),
    "model_digest no hex": parameter("model_digest", "../../etc"),
    "preprocessing_digest empty": parameter("preprocessing_digest", ""),
    "model_name empty": parameter("model_name", " "),
    "notice empty": parameter("notice", ""),
    "calibration deep": parameter("calibration", DEEP.decode()),
    "calibration a number": parameter("calibration", "7"),
    "admission deep": parameter("admission", DEEP.decode()),
    "admission with a code that is none": parameter(
        "admission", '{"codes": [{"code": "\\u001b[2J", "action": "reject", "sentence": "x"}]}'
    ),
    "admission with a sentence that is none": parameter(
        "admission", '{"codes": [{"code": "TORN", "action": "reject", "sentence": [1]}]}'
    ),
    "operating_points deep": parameter("operating_points", DEEP.decode()),
    "operating_points a dictionary": parameter("operating_points", "{}"),
    "operating_points with a threshold of NaN": parameter(
        "operating_points", json.dumps([POINT | {"threshold": NAN}])
    ),
    "operating_points with a name that is none": parameter(
        "operating_points", json.dumps([POINT | {"name": []}])
    ),
    "operating_points of one name": parameter("operating_points", json.dumps([POINT, POINT])),
    "operating_point a list": parameter("operating_point", "[]"),
    "operating_point of another threshold": lambda message: parameter("operating_point", '"a"')(
        parameter("operating_points", json.dumps([POINT | {"threshold": 0.9}]))(message)
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_an_ensemble_that_cannot_be_is_unfit_at_once(what, tampered):
    tampered.configuration = UNFIT[what]
    with pytest.raises(ServerUnfit):
        CxrClient(tampered.address).close()


def test_an_ensemble_that_becomes_unfit_costs_the_film_and_not_the_run(tampered, films):
    with CxrClient(tampered.address, jobs=1) as client:
        (good,) = client.predict_many([films[0]])
        assert isinstance(good, Prediction)
        tampered.configuration = UNFIT["threshold NaN"]
        (lost,) = client.predict_many([films[0]])
    assert (lost.code, lost.status) == ("SERVER_UNFIT", "failed")
