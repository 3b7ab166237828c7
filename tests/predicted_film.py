"""What a server could say of the drawn film, as fixtures."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pydicom
import pytest

from cxrclient.wire.admission import Admission, AdmissionCode
from cxrclient.wire.ensemble import EnsembleInfo, Finding, ModelInfo
from cxrclient.wire.prediction import Prediction

MODEL = EnsembleInfo(
    model=ModelInfo("starter", "d" * 64),
    labels=("non-covid", "covid"),
    threshold=0.5,
    image_size_px=64,
    embedding_size=128,
    members=("resnet34", "vgg16"),
    preprocessing_digest="e" * 64,
    notice="Research use only: it separates sources, not disease.",
    admission=Admission((AdmissionCode("NO_LUNGS", True, "No two lungs are found on it."),)),
    finding=Finding("SCT", "840539006", "COVID-19"),
)


@pytest.fixture(scope="session")
def model() -> EnsembleInfo:
    """Whose prediction it is."""
    return MODEL


@pytest.fixture(scope="session")
def predicted(drawn: bytes) -> Callable[..., Prediction]:
    """What a server could say of the film; `predicted(probability=0.2)` changes what is named."""
    header = pydicom.dcmread(io.BytesIO(drawn), stop_before_pixels=True)
    side = max(header.Rows, header.Columns)
    step = side / 64
    across, down = (side - header.Columns) / 2, (side - header.Rows) / 2
    y, x = np.mgrid[0:64, 0:64].astype(np.float32)
    lungs = sum((np.hypot((x - at) / 9, (y - 30) / 17) < 1).astype(np.float32) for at in (20, 44))
    known = {
        "path": "one.dcm",
        "film_id": header.SOPInstanceUID,
        "probability": 0.8125,
        "label": "covid",
        "members": {"resnet34": 0.75, "vgg16": 0.875},
        "votes": 2,
        "lung_fraction": 0.31,
        "embedding": np.zeros(128, np.float32),
        "flags": (),
        "model": MODEL.model,
        "latency_ms": 12.0,
        "cxr": x / 63,
        "lungs": lungs,
        "heatmap": np.array([[0, 1], [0, 0]], np.float32),
        "geometry": np.array(
            [header.Rows, header.Columns, step, 0, step / 2 - 0.5 - across, 0, step,
             step / 2 - 0.5 - down], np.float32
        ),
    }  # fmt: skip

    def prediction(**changes: object) -> Prediction:
        return Prediction(**{**known, **changes})  # type: ignore[arg-type]

    return prediction
