"""The lungs on the film's own grid, as a Segmentation; left and right apart where that is sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from highdicom.sr import CodedConcept

from cxrclient.dicom_results import codes
from cxrclient.dicom_results.objects import Subject
from cxrclient.dicom_results.pydicom_parts import Dataset, DSfloat
from cxrclient.dicom_results.uids import uid_of
from cxrclient.films import LUNG_PROBABILITY, sampled_on_film
from cxrclient.pixels import nearest_part
from cxrclient.wire import Prediction, maps_of

_Mask = npt.NDArray[np.bool_]
_Outline = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """One segment.

    Attributes:
        label: in words.
        side: left, right or both.
        share: of the film's area, 0..1.
        outlines: float64 [points, 2] as (x, y), whole numbers at pixel centres; largest first.
    """

    label: str
    side: CodedConcept
    share: float
    outlines: tuple[npt.NDArray[np.float64], ...]


@dataclass(frozen=True)
class Segments:
    """A Segmentation and its segments, in their order."""

    dataset: Dataset
    segments: tuple[Segment, ...]


def segmentation_of(subject: Subject, prediction: Prediction) -> Segments | None:
    """Write the lungs of a film as a binary Segmentation [rows, columns]; None without lungs."""
    masks = _masks(subject, prediction)
    if not masks:
        return None
    # One number a segment: so highdicom need not look whether they overlap.
    pixels = np.zeros((1, *masks[0][1].shape), np.uint8)
    for number, (_, mask, _) in enumerate(masks, 1):
        pixels[0, mask] = number
    segments = tuple(
        Segment(_LABELS[side.value], side, float(mask.mean()), tuple(outlines))
        for side, mask, outlines in masks
    )
    ensemble = subject.ensemble
    dataset = Segmentation(
        source_images=[subject.neutral],
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=[
            SegmentDescription(
                segment_number=number,
                segment_label=segment.label,
                segmented_property_category=codes.ANATOMY,
                segmented_property_type=codes.LUNG,
                algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=AlgorithmIdentificationSequence(
                    name=subject.name, family=codes.NETWORK, version=ensemble.digest
                ),
                tracking_uid=uid_of("lung", subject.header.sop_uid, ensemble.digest, segment.label),
                tracking_id=segment.label,
                display_color=CIELabColor.from_rgb(*_COLOURS[segment.side.value]),
            )
            for number, segment in enumerate(segments, 1)
        ],
        content_label="LUNGS",
        content_description="Lungs, research use only",
        series_description="cxr-triton: lungs, research use only",
        omit_empty_frames=False,
        **subject.made_by("seg"),
    )
    _put_plane(dataset.SharedFunctionalGroupsSequence[0], subject.header.spacing_mm)
    organisation = uid_of("dimensions", subject.series_uid("seg"))
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = organisation
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = organisation
    return Segments(subject.finish("seg", dataset), segments)


def _put_plane(shared: Dataset, spacing_mm: tuple[float, float] | None) -> None:
    """Say how the segments lie: as the film does.

    A film has no slices and no place in the patient. OHIF 3.12 draws no segmentation without the
    two groups; it compares the plane with that which it takes a film to have. highdicom reads no
    group without both numbers: 1 stands for what the film does not say.
    """
    measures, plane = Dataset(), Dataset()
    measures.SliceThickness = 1
    measures.PixelSpacing = [DSfloat(each, auto_format=True) for each in spacing_mm or (1.0, 1.0)]
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]


_LABELS = {
    codes.RIGHT.value: "Right lung",
    codes.LEFT.value: "Left lung",
    codes.BILATERAL.value: "Lungs",
}


# Told apart by those, too, who do not see red and green apart.
_COLOURS = {
    codes.RIGHT.value: (64, 224, 208),
    codes.LEFT.value: (255, 176, 0),
    codes.BILATERAL.value: (64, 224, 208),
}


def _masks(
    subject: Subject, prediction: Prediction
) -> list[tuple[CodedConcept, _Mask, list[_Outline]]]:
    """The parts that are told apart, each with its side: bool [rows, columns], and outlines."""
    lungs, geometry = maps_of(prediction, "lungs", "geometry")
    whole = sampled_on_film(lungs, geometry, lungs.shape[0]) >= LUNG_PROBABILITY
    if not whole.any():
        return []
    parts = nearest_part(lungs >= LUNG_PROBABILITY)
    towards = subject.header.orientation[0][0] if subject.header.orientation else ""
    if parts is None or towards not in ("L", "R"):
        return [(codes.BILATERAL, whole, subject.outlines)]
    # Which of the two a film's pixel is nearest to, read at the middle of its network pixel.
    height, width = whole.shape
    a, _, c, _, e, f = (float(number) for number in geometry[2:])

    def cells(places: npt.NDArray[Any], start: float, step: float) -> npt.NDArray[np.intp]:
        nearest: npt.NDArray[np.intp] = np.rint((places - start) / step).astype(np.intp)
        return nearest.clip(0, len(lungs) - 1)

    first = whole & parts[cells(np.arange(height), f, e)][:, cells(np.arange(width), c, a)]
    of_first: list[_Outline] = []
    of_second: list[_Outline] = []
    for ring in subject.outlines:
        beside = parts[cells(ring[:, 1], f, e), cells(ring[:, 0], c, a)]
        (of_first if beside.mean() > 0.5 else of_second).append(ring)
    sides = (codes.RIGHT, codes.LEFT) if towards == "L" else (codes.LEFT, codes.RIGHT)
    masks = list(zip(sides, (first, whole & ~first), (of_first, of_second), strict=True))
    if not all(mask.any() and outlines for _, mask, outlines in masks):
        return [(codes.BILATERAL, whole, subject.outlines)]
    return sorted(masks, key=lambda part: part[0] is not codes.RIGHT)
