"""Where on the film the SR's numbers are from: lines that a viewer draws."""

from __future__ import annotations

import io

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw

from cxrclient.dicom_results import results_of


def header(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)


def coordinates(data: bytes) -> dict[str, list[np.ndarray]]:
    """The closed lines to which the numbers of each group refer, by its words for itself."""
    lines: dict[str, list[np.ndarray]] = {}
    for group in highdicom.sr.srread(io.BytesIO(data)).content.get_image_measurement_groups():
        for number in group.get_measurements():
            for place in number.referenced_coordinates:
                assert place.graphic_type.value == "POLYLINE"
                ring = place.value
                assert ring[0].tolist() == ring[-1].tolist()
                lines.setdefault(group.tracking_identifier, []).append(ring[:-1])
    return lines


def test_the_sr_outlines_what_the_segmentation_fills(film, predicted, model):
    mine = results_of(predicted(), film(), model).files()
    lines = coordinates(mine["sr"])
    segments = pydicom.dcmread(io.BytesIO(mine["seg"])).pixel_array.astype(bool)

    for name, segment in zip(("Right lung", "Left lung"), segments, strict=True):
        [ring] = lines[name]
        drawn = Image.new("1", segment.shape[::-1])
        ImageDraw.Draw(drawn).polygon([tuple(point) for point in ring - 0.5], fill=1)
        both = np.asarray(drawn) & segment
        assert both.sum() > 0.95 * (np.asarray(drawn) | segment).sum()
        assert len(ring) < 100
    [whole] = lines["Finding"]
    worn = header(film())
    assert whole.min(axis=0).tolist() == [0, 0]
    assert whole.max(axis=0).tolist() == [worn.Columns, worn.Rows]


def test_a_probability_is_of_what_the_networks_saw_of_the_film(film, predicted, model):
    worn = header(film())
    inside = np.array([worn.Rows, worn.Columns, 1.5, 0, 20, 0, 1.5, 30], np.float32)

    made = results_of(predicted(geometry=inside), film(), model).files()["sr"]

    [seen] = coordinates(made)["Finding"]
    assert seen.min(axis=0).tolist() == [19.75, 29.75]
    assert seen.max(axis=0).tolist() == [19.75 + 96, 29.75 + 96]


def test_lungs_that_are_not_told_apart_have_an_outline_each(film, predicted, model):
    made = results_of(predicted(), film("plain", PatientOrientation=None), model).files()

    assert len(coordinates(made["sr"])["Lungs"]) == 2
    groups = highdicom.sr.srread(io.BytesIO(made["sr"])).content.get_image_measurement_groups()
    shares = [float(each.value) for each in groups[-1].get_measurements()]
    mask = pydicom.dcmread(io.BytesIO(made["seg"])).pixel_array.astype(bool)
    assert sum(shares) == pytest.approx(100 * mask.mean(), abs=0.02)


def test_no_group_of_a_tracked_thing_is_without_a_place(film, predicted, model):
    """OHIF 3.12 opens an SR only if each thing that is tracked has coordinates."""
    made = results_of(predicted(), film(), model).files()["sr"]
    report = highdicom.sr.srread(io.BytesIO(made)).content
    tracked = {
        group.tracking_identifier
        for group in (
            *report.get_image_measurement_groups(),
            *report.get_planar_roi_measurement_groups(),
        )
    }

    assert tracked == set(coordinates(made)) == {"Finding", "Right lung", "Left lung"}
