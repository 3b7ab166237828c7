"""The Secondary Capture of a film: the picture that any viewer shows."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrclient.dicom_results.objects import MANUFACTURER, SERIES, Subject, software_version
from cxrclient.dicom_results.picture import picture_of
from cxrclient.dicom_results.pydicom_parts import (
    Dataset,
    FileMetaDataset,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    encapsulate,
)
from cxrclient.wire import Prediction

_QUALITY = 90


def capture_of(
    subject: Subject, prediction: Prediction, brightness: npt.NDArray[np.uint16]
) -> Dataset:
    """Write the picture of a film and its result.

    Args:
        subject: the film.
        prediction: made with `maps=True`.
        brightness: the film in its window, dense bright, [rows, columns].

    Returns:
        A Secondary Capture, JPEG (lossy, 4:2:2), derived from the film.
    """
    pixels = picture_of(subject, prediction, brightness)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY, subsampling="4:2:2")
    jpeg = buffer.getvalue()

    capture = Dataset()
    capture.file_meta = FileMetaDataset()
    capture.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    capture.SOPClassUID = SecondaryCaptureImageStorage
    capture.SeriesInstanceUID = subject.series_uid("sc")
    capture.Modality, capture.SeriesNumber, capture.InstanceNumber = "OT", SERIES["sc"], 1
    capture.ConversionType = "WSD"
    capture.InstanceCreationDate = capture.ContentDate = subject.header.moment[0]
    capture.SeriesDescription = "cxr-triton: picture, research use only"
    capture.Manufacturer, capture.ManufacturerModelName = MANUFACTURER, subject.name
    capture.SoftwareVersions = software_version()
    capture.DeviceSerialNumber = subject.ensemble.digest[:16]
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.DerivationDescription = "Film with lungs, heatmap and probabilities drawn on it"
    capture.SourceImageSequence = [_reference(subject)]
    if subject.header.burned_in:  # what the film has on it, the picture has, too
        capture.BurnedInAnnotation = subject.header.burned_in
    capture.Laterality = None  # type 2C
    capture.LossyImageCompression = "01"
    capture.LossyImageCompressionMethod = "ISO_10918_1"
    capture.LossyImageCompressionRatio = f"{pixels.nbytes / len(jpeg):.2f}"
    capture.Rows, capture.Columns, capture.SamplesPerPixel = *pixels.shape[:2], 3
    capture.PhotometricInterpretation, capture.PlanarConfiguration = "YBR_FULL_422", 0
    capture.BitsAllocated = capture.BitsStored = 8
    capture.HighBit, capture.PixelRepresentation = 7, 0
    capture.PixelData = encapsulate([jpeg])
    capture["PixelData"].VR = "OB"
    return subject.finish("sc", capture)


def _reference(subject: Subject) -> Dataset:
    film = Dataset()
    film.ReferencedSOPClassUID = subject.header.sop_class
    film.ReferencedSOPInstanceUID = subject.header.sop_uid
    return film
