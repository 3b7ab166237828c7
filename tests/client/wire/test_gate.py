"""The gate through the real server: what is turned away, and what it is without the gate."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cxrclient.errors import FilmError
from cxrclient.wire.client import CxrClient


@pytest.fixture(scope="module")
def gated(triton_server):
    with CxrClient(triton_server.grpc_address) as client:
        yield client


@pytest.fixture(scope="module")
def open_gate(triton_server):
    with CxrClient(triton_server.grpc_address, gate=False) as client:
        yield client


def png(film: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", film)[1])


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> np.ndarray:
    """A drawn chest film without a header, uint16 [rows, columns]."""
    from cxrexport.manifest import read_manifest
    from cxrexport.phantom import write_phantoms
    from cxrexport.preprocessing import decode_film

    folder = tmp_path_factory.mktemp("phantoms")
    (row,) = read_manifest(write_phantoms(1, folder, seed=5))
    return np.asarray(decode_film(row.image.read_bytes()).pixels)


def reason(client: CxrClient, film: bytes) -> FilmError:
    with pytest.raises(FilmError) as raised:
        client.predict(film)
    return raised.value


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda film: 65535 - film, "POLARITY_SUSPECT"),
        (lambda film: film[::-1, ::-1], "NOT_A_CHEST_FILM"),
        (np.rot90, "NO_LUNGS"),
    ],
    ids=["inverted", "upside down", "on its side"],
)
def test_what_is_no_upright_chest_film_is_rejected_in_the_servers_words(gated, film, spoil, code):
    error = reason(gated, png(np.ascontiguousarray(spoil(film))))
    assert (error.code, error.status, error.retriable) == (code, "rejected", False)
    assert error.message == gated.model.admission.sentence(code)


def test_the_drawn_film_itself_is_predicted_without_a_warning(gated, film):
    prediction = gated.predict(png(film))
    assert (prediction.warnings, prediction.record()["warnings"]) == ((), [])


def test_without_the_gate_it_is_predicted_and_the_reasons_stay(open_gate, film):
    prediction = open_gate.predict(png(65535 - film))
    assert {"POLARITY_SUSPECT", "NOT_A_CHEST_FILM"} <= set(prediction.warnings)
    assert set(prediction.warnings) <= set(prediction.flags)
    assert prediction.record()["warnings"] == list(prediction.warnings)


def test_a_box_over_the_film_is_a_rectangular_artefact(gated, film):
    spoilt = film.copy()
    rows, columns = film.shape
    spoilt[rows // 3 : rows // 2, columns // 4 : columns // 2] = 65535
    assert reason(gated, png(spoilt)).code == "RECTANGULAR_ARTEFACT"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"Modality": "CT"}, "WRONG_MODALITY"),
        ({"ViewPosition": "LL"}, "LATERAL_VIEW"),
        ({"Modality": "MR", "ViewPosition": "LL"}, "WRONG_MODALITY"),
    ],
)
def test_a_header_that_rules_the_film_out_does_whatever_the_pixels_show(
    gated, film, write_dicom, tmp_path, header, code
):
    path = write_dicom(tmp_path / "film.dcm", film // 16, **header)
    error = reason(gated, path.read_bytes())
    assert error.code == code


@pytest.mark.parametrize(
    ("header", "warning"),
    [
        ({"BodyPartExamined": "ABDOMEN"}, "BODY_PART_OTHER"),
        ({"Modality": "OT"}, "MODALITY_OTHER"),
        ({"BurnedInAnnotation": "YES"}, "BURNED_IN_ANNOTATION"),
    ],
)
def test_pixels_that_clearly_show_a_chest_overrule_what_a_person_typed(
    gated, film, write_dicom, tmp_path, header, warning
):
    path = write_dicom(tmp_path / "film.dcm", film // 16, **header)
    assert gated.predict(path).warnings == (warning,)


def test_a_body_part_that_the_pixels_confirm_is_rejected(gated, real_film):
    """A real radiograph of a lower leg, CR, with its own header."""
    assert reason(gated, real_film("RG3_UNCR.dcm").read_bytes()).code in {
        "NO_LUNGS",
        "NOT_A_CHEST_FILM",
    }


def test_a_real_chest_film_passes(gated, real_film):
    assert gated.predict(real_film("RG1_UNCR.dcm")).warnings == ()
