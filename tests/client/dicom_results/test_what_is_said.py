"""What people read in a film's results is what the server said of it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from PIL import ImageDraw

from cxrclient.dicom_results import capture, read_film_header, results_of
from cxrclient.dicom_results.picture import picture_of
from cxrclient.pages import CONTOUR_COLOUR

DATES = ("ContentDate", "AcquisitionDate", "SeriesDate", "StudyDate")


@pytest.fixture
def words(monkeypatch) -> list[str]:
    """Everything that is written into pictures."""
    written: list[str] = []
    text = ImageDraw.ImageDraw.text

    def kept(draw, place, words, *more, **options):
        written.append(words)
        text(draw, place, words, *more, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", kept)
    return written


def flat(item):
    """An item of an SR and all below it."""
    yield item
    for below in item.get("ContentSequence", ()):
        yield from flat(below)


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def test_the_picture_says_what_the_server_said(words, film, predicted, model):
    results_of(predicted(), film(StudyDate="20200311"), model)

    said = " ".join(words)
    assert words[0] == "COVID-19: 81.2 %"
    for part in (
        "Above the operating point of 50.0 %",
        "2 of 2 networks say covid: resnet34 75.0 %, vgg16 87.5 %.",
        model.notice,
        f"Model starter, {'d' * 12}.",
        "Heat: where they looked",
    ):
        assert part in said


def test_below_the_operating_point_it_says_so(words, film, predicted, model):
    results_of(predicted(probability=0.25, label="non-covid", votes=0), film(), model)
    assert words[0] == "COVID-19: 25.0 %"
    assert "Not above the operating point of 50.0 %. 0 of 2 networks" in " ".join(words)


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("20240229134501.25+0100", ("20240229", "134501")),
        ("20240229", ("20240229", "000000")),
        ("2024", ("19700101", "000000")),
        ("20240230134501", ("19700101", "000000")),
    ],
)
def test_date_and_time_may_be_said_together(said, moment, film):
    apart = {**dict.fromkeys(DATES, ""), "AcquisitionDateTime": said}
    assert read_film_header(film(**apart)).moment == moment


def test_the_moment_of_the_acquisition_goes_before_that_of_the_study(film):
    apart = {**dict.fromkeys(DATES, ""), "StudyDate": "20240228"}
    assert read_film_header(film(**apart)).moment[0] == "20240228"
    together = read_film_header(film(**apart, AcquisitionDateTime="20240229134501"))
    assert together.moment == ("20240229", "134501")


def test_a_film_without_any_date_is_said_to_have_none(words, film, predicted, model):
    results_of(predicted(), film(**dict.fromkeys(DATES, "")), model)
    assert "Film without a date." in " ".join(words)
    assert "1970" not in " ".join(words)


def test_the_lungs_are_outlined_in_the_picture(film, predicted, model, monkeypatch):
    drawn = []

    def kept(subject, *more):
        drawn.append((subject, picture_of(subject, *more)))
        return drawn[-1][1]

    monkeypatch.setattr(capture, "picture_of", kept)
    results_of(predicted(), film(), model)

    ((subject, picture),) = drawn
    scale = picture.shape[1] / subject.columns
    rings = np.concatenate(subject.outlines)
    columns, rows = np.rint((rings + 0.5) * scale - 0.5).astype(int).T
    found = (picture[rows, columns] == CONTOUR_COLOUR).all(axis=-1)
    assert len(subject.outlines) == 2
    assert found.mean() > 0.95


@pytest.mark.parametrize("said", ["YES", "NO", None])
def test_what_is_burned_in_is_said_as_the_film_says_it(said, film, predicted, model):
    changes = {} if said is None else {"BurnedInAnnotation": said}
    worn = read(film(**changes))
    if said is None and "BurnedInAnnotation" in worn:
        del worn.BurnedInAnnotation
    buffer = io.BytesIO()
    worn.save_as(buffer)

    made = read(results_of(predicted(), buffer.getvalue(), model).files()["sc"])

    assert made.get("BurnedInAnnotation") == said


def test_the_report_is_preliminary_and_has_notice_threshold_and_film(film, predicted, model):
    worn = film()
    sr = read(results_of(predicted(), worn, replace(model, threshold=0.625)).files()["sr"])

    assert (sr.PreliminaryFlag, sr.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    items = list(flat(sr))
    texts = [str(item.TextValue) for item in items if "TextValue" in item]
    assert any(model.notice in text for text in texts)
    assert any("0.625" in text or "62.5" in text for text in texts)
    images = [item for item in items if item.get("ValueType") == "IMAGE"]
    uids = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images}
    assert read(worn).SOPInstanceUID in uids


def test_words_are_plain_letters_in_every_object(film, predicted, model):
    foreign = replace(model, notice="Nur für Forschung: 肺", labels=("gesund", "Füße"))
    files = results_of(predicted(label="Füße"), film(), foreign).files()
    sr = read(files["sr"])
    texts = " ".join(str(item.TextValue) for item in flat(sr) if "TextValue" in item)
    assert "Nur fur Forschung: ?" in texts
    assert "Füße".encode("latin-1") not in files["sr"]
    assert "Füße".encode() not in files["sr"]
