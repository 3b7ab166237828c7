"""What a prediction knows of its film, it tells nobody unasked."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from cxrclient.errors import FilmError
from cxrclient.films.film import read_film
from cxrclient.wire.client import CxrClient
from cxrclient.wire.prediction import Prediction, failure_record
from secrets_of_a_patient import (
    DICOM_KINDS,
    SECRETS,
    found_in,
)


def shown_of(prediction: Prediction) -> list[bytes]:
    """All that a prediction becomes when nobody asks for its film."""
    copies = copy.copy(prediction), copy.deepcopy(prediction), replace(prediction, label="other")
    assert [each.film for each in copies] == [None] * 3
    shown = [f"{prediction} {prediction!r}", prediction._repr_html_(), str(asdict(prediction))]
    shown += [json.dumps(prediction.record()), str([fields(prediction), dir(prediction)])]
    pickled = pickle.dumps(prediction)
    assert pickle.loads(pickled).film is None
    return [*(text.encode() for text in shown), pickled]


def shown_of_error(error: FilmError) -> list[bytes]:
    """The same of an error, as a log and a report of it have it."""
    recorded = io.StringIO()
    log = logging.getLogger("a test's")
    handler = logging.StreamHandler(recorded)
    log.addHandler(handler)
    log.error("%s %r", error, error, exc_info=error)
    log.removeHandler(handler)
    shown = [recorded.getvalue(), str(vars(error)), str(error.args), str(failure_record(error))]
    return [*(text.encode() for text in shown), pickle.dumps(error)]


@pytest.mark.parametrize("kind", DICOM_KINDS)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["path", "bytes"])
def test_a_prediction_knows_its_films_header_and_tells_nobody_unasked(
    kind: str, as_bytes: bool, films: dict[str, Path], triton_server: Any
) -> None:
    with CxrClient(triton_server.grpc_address, gate=False) as cxr:
        prediction = cxr.predict(films[kind].read_bytes() if as_bytes else films[kind])
        with pytest.raises(FilmError) as raised:
            cxr.predict(replace(read_film(films[kind]), payload=b"no film"))
    for film in (prediction.film, raised.value.film):
        assert film is not None
        assert film.patient_id == SECRETS["number"]
        assert film.patient_issuer == SECRETS["institution"]
        assert film.study_uid == "1.2.840.55.4711.1"
        assert film.payload == b""
        assert found_in(repr(film).encode()) == set()
    shown = shown_of(prediction) + shown_of_error(raised.value)
    assert found_in(b"\0".join(shown)) == set()
    assert not any(b".4711.1" in each for each in shown)  # nor the study
