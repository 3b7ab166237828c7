"""What is taken, what is refused, and what is said of it, however it came."""

from __future__ import annotations

import io

import pydicom
import pytest

from clothes import CLOTHES
from cxrclient.node.notes import NOTES
from cxrclient.node.receive.intake import FILM_CLASSES, take_in
from cxrclient.node.spool.look import spool_status
from cxrclient.node.spool.spool import Spool
from dicom_senders import kept, noted

CT, SR, PDF = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "88.34", "104.1"))


def _without_pixels(file, sop_class):
    object_ = pydicom.dcmread(io.BytesIO(file))
    del object_.PixelData
    object_.SOPClassUID = sop_class
    buffer = io.BytesIO()
    object_.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("clothes", CLOTHES)
def test_a_film_is_taken_whatever_its_header_is_like(spool, film, clothes):
    file = film(clothes)
    receipt = take_in(spool, file, "MODALITY")
    assert (receipt.state, receipt.code, receipt.message) == ("stored", None, "")
    assert [path.read_bytes() for path in kept(spool)] == [file]
    assert take_in(spool, file, "MODALITY").state == "again"
    assert noted(spool) == []


@pytest.mark.parametrize("sop_class", FILM_CLASSES)
def test_every_class_of_films_is_taken(spool, film, sop_class):
    receipt = take_in(spool, film(SOPClassUID=sop_class), "MODALITY")
    assert (receipt.state, receipt.sop_class) == ("stored", sop_class)


@pytest.mark.parametrize("sop_class", [CT, SR, PDF])
def test_what_is_no_film_is_refused_andnoted(spool, film, sop_class):
    whole = film(SOPClassUID=sop_class)
    for file in (whole, _without_pixels(whole, sop_class)):
        receipt = take_in(spool, file, "MODALITY")
        assert (receipt.state, receipt.code, receipt.retriable) == ("refused", "NOT_A_FILM", False)
        assert receipt.message == NOTES["NOT_A_FILM"][0]
    assert noted(spool) == [("NOT_A_FILM", receipt.uid)] * 2
    assert kept(spool) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"StudyInstanceUID": None}, "NO_STUDY"),
        ({"StudyInstanceUID": "1.2.study"}, "NO_STUDY"),
        ({"StudyInstanceUID": "1.2." + "3" * 70}, "NO_STUDY"),
        ({"SeriesInstanceUID": "../../series"}, "NO_STUDY"),
        ({"SOPInstanceUID": "../../../outside"}, "NO_STUDY"),
        ({"NumberOfFrames": 2}, "MULTI_FRAME"),
    ],
)
def test_a_film_that_results_cannot_follow_is_refused_andnoted(spool, film, changes, code):
    with pydicom.config.disable_value_validation():
        receipt = take_in(spool, film(**changes), "MODALITY")
    assert (receipt.state, receipt.code, receipt.retriable) == ("refused", code, False)
    assert noted(spool) == [(code, receipt.uid)]
    assert kept(spool) == []


def test_what_ends_early_is_refused_wherever_it_ends(spool, film):
    file = film()
    for end in (0, 100, 140, 300, 800, len(file) // 2, len(file) - 2):
        receipt = take_in(spool, file[:end], "MODALITY")
        assert (receipt.state, receipt.retriable) == ("refused", False)
    assert kept(spool) == []
    assert len(noted(spool)) == 7


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"])
def test_a_film_with_half_its_pixels_is_refused_as_truncated(spool, film, recompress, syntax):
    pixels = pydicom.dcmread(io.BytesIO(film())).PixelData
    receipt = take_in(
        spool, recompress(film(PixelData=pixels[: len(pixels) // 2]), syntax), "MODALITY"
    )
    assert (receipt.state, receipt.code, receipt.retriable) == ("refused", "NOT_READABLE", False)
    assert "truncated" in receipt.message
    assert kept(spool) == []


def test_an_object_is_the_one_that_was_announced(spool, film):
    file = film()
    header = pydicom.dcmread(io.BytesIO(file))
    right = str(header.SOPClassUID), str(header.SOPInstanceUID)
    for wrong in ((FILM_CLASSES[1], right[1]), (right[0], "1.2.3")):
        assert take_in(spool, file, "MODALITY", wrong).code == "UID_MISMATCH"
    assert kept(spool) == []
    assert take_in(spool, file, "MODALITY", right).state == "stored"


def test_other_pixels_under_a_uid_leave_the_first_and_arenoted(spool, film):
    first = film()
    take_in(spool, first, "MODALITY")
    pixels = pydicom.dcmread(io.BytesIO(first)).PixelData
    receipt = take_in(spool, film(PixelData=bytes(len(pixels))), "MODALITY")
    assert (receipt.state, receipt.code) == ("other_pixels", "OTHER_PIXELS")
    assert noted(spool) == [("OTHER_PIXELS", receipt.uid)]
    assert [path.read_bytes() for path in kept(spool)] == [first]


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"min_free_bytes": 1 << 60}, "LOW_DISK"), ({"min_free_bytes": 0, "queue": 0}, "QUEUE_FULL")],
)
def test_without_room_a_film_may_come_again_later(tmp_path, film, limits, code):
    with Spool(tmp_path / "spool", **limits) as spool:
        receipt = take_in(spool, film(), "MODALITY")
        assert (receipt.state, receipt.code, receipt.retriable) == ("refused", code, True)
        assert noted(spool) == [(code, receipt.uid)]
        assert kept(spool) == []


def test_nothing_of_the_patient_is_in_what_is_said(spool, film, caplog):
    caplog.set_level("DEBUG")
    secret = {"PatientName": "SECRET^ONE", "PatientID": "SECRET2"}
    broken = film(**secret, StudyInstanceUID=None)
    said = [take_in(spool, file, "MODALITY") for file in (broken, broken[:900], film(**secret))]
    rows = spool_status(spool.folder)["trouble"]
    assert "SECRET" not in f"{said} {rows} {caplog.text}"
