"""The outline of the lungs as a Grayscale Softcopy Presentation State, drawn by viewers."""

from __future__ import annotations

import numpy as np
from highdicom import PresentationLUTTransformation
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
)

from cxrclient.dicom_results.objects import Subject
from cxrclient.dicom_results.pydicom_parts import Dataset


def presentation_of(subject: Subject) -> Dataset | None:
    """Write the outline of the lungs; None without lungs, or where the film has look-up tables.

    Returns:
        A presentation state with the film's own window, and a closed line for each outline.
    """
    # DICOM counts from the film's upper left corner, where our first pixel's centre is 0.
    rings = [ring + 0.5 for ring in subject.outlines]
    if not rings or not subject.header.plain_window:
        return None  # a state without the film's own look-up would show it otherwise
    layer = GraphicLayer(layer_name="LUNGS", order=1, description="Outline of the lungs")
    lines = [
        GraphicObject(
            graphic_type="POLYLINE",
            graphic_data=np.concatenate([ring, ring[:1]]),
            units="PIXEL",
        )
        for ring in rings
    ]
    film = subject.neutral
    film.BitsStored, film.PixelRepresentation = 16, 0
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    header = subject.header
    film.RescaleSlope, film.RescaleIntercept = header.rescale
    if header.window:
        film.WindowCenter, film.WindowWidth = header.window
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=[film],
        content_label="LUNGS",
        content_description="Outline of the lungs, research use only",
        graphic_layers=[layer],
        graphic_annotations=[
            GraphicAnnotation(referenced_images=[film], graphic_layer=layer, graphic_objects=lines)
        ],
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape="INVERSE" if header.inverse else "IDENTITY"
        ),
        **{
            name: value
            for name, value in subject.made_by("gsps").items()
            if name not in ("content_date", "content_time")
        },
    )
    state.Laterality = None  # type 2C
    return subject.finish("gsps", state)
