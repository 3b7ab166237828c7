"""Predictions and neighbours as a server and an archive would give them, for pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cxrclient.archive.milvus.rows import Neighbour
from cxrclient.errors import FilmError
from cxrclient.films.film import Film
from cxrclient.pages.page import PageFilm, page_html, thumbnail
from cxrclient.wire.prediction import EnsembleInfo, ModelInfo, Prediction, with_film

FILM = Film(film_id="1.2.840.1", view="PA", sex="F", age=61.4999, study_uid="1.2.840.7")
MODEL = EnsembleInfo(
    model=ModelInfo("starter", "d" * 64),
    labels=("non-covid", "covid"),
    threshold=0.5,
    image_size_px=64,
    embedding_size=128,
    members=("resnet34", "vgg16"),
    preprocessing_digest="p" * 64,
    notice="It separates sources, not disease.",
)


@pytest.fixture(scope="session")
def model() -> EnsembleInfo:
    """An uncalibrated model with a plain threshold."""
    return MODEL


@pytest.fixture(scope="session")
def predicted() -> Callable[..., Prediction]:
    """A film's prediction; `predicted(probability=0.2)` changes what is named."""
    return _prediction


@pytest.fixture(scope="session")
def near() -> Callable[..., Neighbour]:
    """A neighbour; `near(distance=2.5)` changes what is named."""
    return _neighbour


def _prediction(*, film: Film | None = None, **changes: object) -> Prediction:
    rows, columns = np.mgrid[0:64, 0:64].astype(np.float32)
    known = {
        "path": "films/one.dcm",
        "film_id": "1.2.840.1",
        "probability": 0.8125,
        "label": "covid",
        "members": {"resnet34": 0.75, "vgg16": 0.875},
        "votes": 2,
        "lung_fraction": 0.31,
        "embedding": np.zeros(128, np.float32),
        "flags": ("POLARITY_TURNED",),
        "model": MODEL.model,
        "latency_ms": 12.0,
        "cxr": columns / 63,
        "lungs": (np.hypot(rows - 32, columns - 32) < 20).astype(np.float32),
        "heatmap": np.array([[0, 1], [0, 0]], np.float32),
        "geometry": np.array([64, 64, 1, 0, 0, 0, 1, 0], np.float32),
    }
    prediction = Prediction(**{**known, **changes})  # type: ignore[arg-type]
    return with_film(prediction, film) if film else prediction


def _neighbour(**changes: object) -> Neighbour:
    near = Neighbour(
        id="1.2.840.2",
        distance=1.25,
        label="non-covid",
        label_source="metadata",
        probability=0.125,
        patient_key="ab" * 32,
        metadata={
            "days": 3.0,
            "offset_meaning": "days since admission",
            "view": "AP",
            "age": 54.0,
            "study_uid": "1.2.840.77",
            "treatment": "oxygen",
        },
    )
    return replace(near, **changes)


@pytest.fixture(scope="module")
def shown(predicted, near) -> list[PageFilm | FilmError]:
    neighbours = [near(), near(id="1.2.840.3", distance=2.5, label_source="predicted")]
    return [
        PageFilm(predicted(film=FILM), neighbours, {"1.2.840.2": thumbnail(predicted())}),
        FilmError("NO_PIXELS", "in/two.dcm has none.", status="rejected", path="in/two.dcm"),
        PageFilm(predicted(path="in/three.dcm"), "The archive is locked."),
        FilmError("SERVER_BUSY", "Later.", status="failed", path="4.dcm", retriable=True),
    ]


@pytest.fixture(scope="module")
def text(shown, model) -> str:
    return page_html(shown, model, note="Drawn films show the mechanism.")
