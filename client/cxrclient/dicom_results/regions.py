"""Regions of the film to which the SR's measurements refer: the outlines that viewers draw.

A closed POLYLINE in columns and rows of the film; (0, 0) is its upper left corner. Source: DICOM
PS3.3 C.18.6. OHIF 3.12 writes a group's words beside the first edge of its first line, so each
line begins where words hide little.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from highdicom.sr import CoordinatesForMeasurement, GraphicTypeValues, SourceImageForRegion

from cxrclient.dicom_results.objects import Subject
from cxrclient.dicom_results.study import ORDINARY
from cxrclient.pixels import thinned
from cxrclient.wire import Prediction, maps_of

_Outline = npt.NDArray[np.float64]


def judged_region(subject: Subject, prediction: Prediction) -> CoordinatesForMeasurement:
    """What the networks saw of the film: of this is the ensemble's probability."""
    geometry, lungs = maps_of(prediction, "geometry", "lungs")
    a, _, c, _, e, f = (float(number) for number in geometry[2:])
    edges = np.array([-0.5, len(lungs) - 0.5])
    left, right = np.clip(c + 0.5 + a * edges, 0, subject.columns)
    top, bottom = np.clip(f + 0.5 + e * edges, 0, subject.rows)
    # The second point only shortens the first edge: words stand high, yet below a viewer's own.
    first = (left, top), (left, top + (bottom - top) / 12)
    return _region(subject, [*first, (left, bottom), (right, bottom), (right, top)])


def outlined_region(
    subject: Subject, prediction: Prediction, outline: _Outline
) -> CoordinatesForMeasurement:
    """One of the subject's outlines, with no more points than its map can tell; its base first."""
    (geometry,) = maps_of(prediction, "geometry")
    points = thinned(outline, within=float(geometry[2]) / 2) + 0.5
    heights = points[:, 1] + np.roll(points[:, 1], -1)
    return _region(subject, np.roll(points, -int(np.argmax(heights)), axis=0))


def _region(subject: Subject, points: npt.ArrayLike) -> CoordinatesForMeasurement:
    ring = np.asarray(points, np.float32)
    return CoordinatesForMeasurement(
        GraphicTypeValues.POLYLINE,
        np.concatenate([ring, ring[:1]]),
        SourceImageForRegion(ORDINARY, subject.header.sop_uid),
    )
