"""What a notebook shows of a prediction, and that the client works where a loop runs already."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from cxrclient import CxrClient, FilmError
from cxrclient.wire.prediction import ModelInfo, Prediction

HOSTILE = "<script>alert(1)</script>\"'&amp;"


def prediction(**changes: object) -> Prediction:
    known = {
        "path": "folder/one.dcm",
        "film_id": "1.2",
        "probability": 0.8125,
        "label": "covid",
        "members": {"vgg16": 0.8125},
        "votes": 1,
        "lung_fraction": 0.31,
        "embedding": np.zeros(128, np.float32),
        "flags": ("POLARITY_TURNED", "OUT_OF_DISTRIBUTION"),
        "warnings": ("OUT_OF_DISTRIBUTION",),
        "model": ModelInfo("starter", "d" * 64),
        "latency_ms": 1.0,
    }
    return Prediction(**{**known, **changes})


@pytest.mark.parametrize(
    "fact",
    [
        "Research use only; not a medical device.",
        "cxr.model.notice",
        "one.dcm",
        "covid",
        "0.812",
        "1 of 1",
        "31% of the film",
        "polarity turned",
        "out of distribution",
    ],
)
def test_a_notebook_shows(fact: str) -> None:
    assert fact in prediction()._repr_html_()


def test_a_notebook_shows_neither_folder_nor_picture_where_there_are_no_maps() -> None:
    assert "folder" not in prediction()._repr_html_()
    assert "<img" not in prediction()._repr_html_()


def test_whatever_it_shows_is_escaped() -> None:
    shown = prediction(
        path=f"a/{HOSTILE}x",
        label=HOSTILE,
        members={HOSTILE: 0.5},
        flags=(HOSTILE,),
        model=ModelInfo(HOSTILE, HOSTILE),
    )._repr_html_()
    assert "<script" not in shown


def test_the_client_without_a_loop_works_where_one_is_running(triton_server, films) -> None:
    """As in Jupyter, whose loop runs while a cell does."""

    async def cell() -> list[Prediction | FilmError]:
        with CxrClient(triton_server.grpc_address) as cxr:
            return [cxr.predict(films[0]), *cxr.predict_many(films[:2])]

    one, *many = asyncio.run(cell())
    assert isinstance(one, Prediction)
    assert [type(each) for each in many] == [Prediction, Prediction]
    assert many[0].probability == pytest.approx(one.probability, abs=1e-6)
