"""Writes a drawn film as DICOM, in the many ways in which detectors and archives write theirs."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_CR = "1.2.840.10008.5.1.4.1.1.1"
_DX = "1.2.840.10008.5.1.4.1.1.1.1"
# Our own, under the UUID arc (PS3.5 B.2), so that the files do not change with pydicom's version.
_IMPLEMENTATION = "2.25.206498314277551986201740218523118806733"
_LONGER_SIDE_MM = 430.0  # of the common cassette


@dataclass(frozen=True)
class PhantomHeader:
    """Who never was, and when the film was never taken.

    Attributes:
        seed: of the whole collection; UIDs follow from it.
        patient: number of the patient within the collection, from 1.
        visit: number of the film of this patient, from 0.
        day: days since admission.
        view: AP or PA.
        positive: whether opacities are drawn.
        sex: F or M.
        age: years.
        admitted: days after 2020-01-01.
    """

    seed: int
    patient: int
    visit: int
    day: int
    view: str
    positive: bool
    sex: str
    age: int
    admitted: int

    @property
    def patient_id(self) -> str:
        """The made-up patient's number."""
        return f"PHANTOM-{self.seed}-{self.patient:04d}"

    @property
    def name(self) -> str:
        """The film's file name, without suffix."""
        return f"phantom_{self.patient:04d}_{self.visit}"

    def uid(self, what: str) -> str:
        """Give the UID of a thing of this film or patient; the same at every run."""
        name = f"cxr-triton phantom {self.patient_id} {what}"
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}"


def write_dicom(
    image: npt.NDArray[np.float32],
    header: PhantomHeader,
    chance: np.random.Generator,
    file: BinaryIO,
    *,
    letters: bool = True,
) -> None:
    """Write a film of 0..1, dense bright, as a CR or DX object.

    Args:
        image: float32 [height, width].
        header: of the made-up examination.
        chance: draws bits stored, polarity, window, rescale and RLE compression.
        file: to write to.
        letters: whether the film is written on, as its header then says.
    """
    from pydicom.uid import RLELossless

    modality = "DX" if chance.random() < 0.6 else "CR"
    dataset = _identified(header, modality)
    dataset.BurnedInAnnotation = "YES" if letters else "NO"
    _put_pixels(dataset, image, chance, modality)
    if chance.random() < 0.2:
        dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(file, enforce_file_format=True)


def _identified(header: PhantomHeader, modality: str) -> Any:
    """Give a data set with patient, study and series, everything made up."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = _IMPLEMENTATION
    dataset.file_meta.ImplementationVersionName = "CXR_PHANTOM"
    dataset.SOPClassUID = _DX if modality == "DX" else _CR
    dataset.SOPInstanceUID = header.uid(f"film {header.visit}")
    taken = datetime.date(2020, 1, 1) + datetime.timedelta(days=header.admitted + header.day)
    dataset.StudyDate = dataset.ContentDate = taken.strftime("%Y%m%d")
    dataset.StudyTime = dataset.ContentTime = f"{8 + header.patient % 10:02d}1500"
    dataset.AccessionNumber = ""
    dataset.Modality = modality
    dataset.Manufacturer = "cxr-triton phantom"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "DRAWN FILM, NO PATIENT"
    dataset.PatientName = f"PHANTOM^NUMBER {header.patient:04d}"
    dataset.PatientID = header.patient_id
    dataset.PatientBirthDate = f"{taken.year - header.age - 1}0101"
    dataset.PatientSex = header.sex
    dataset.PatientAge = f"{header.age:03d}Y"
    dataset.BodyPartExamined = "CHEST"
    dataset.StudyInstanceUID = header.uid(f"study {header.visit}")
    dataset.SeriesInstanceUID = header.uid(f"series {header.visit}")
    dataset.StudyID = dataset.SeriesNumber = dataset.InstanceNumber = "1"
    dataset.PatientOrientation = ["L", "F"]
    dataset.ViewPosition = header.view
    dataset.AnatomicRegionSequence = [_chest()]
    if modality == "DX":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
        dataset.ImageLaterality = "U"
        dataset.AcquisitionContextSequence = []
        dataset.DetectorType, dataset.PositionerType = "DIRECT", "NONE"
        dataset.PresentationIntentType = "FOR PRESENTATION"
        dataset.PixelIntensityRelationship = "LOG"
        dataset.PixelIntensityRelationshipSign = 1
        dataset.LossyImageCompression = "00"
    return dataset


def _chest() -> Any:
    """The part of the body, as a code."""
    from pydicom.dataset import Dataset

    chest = Dataset()
    chest.CodeValue, chest.CodingSchemeDesignator = "51185008", "SCT"
    chest.CodeMeaning = "Chest"
    return chest


def _put_pixels(
    dataset: Any, image: npt.NDArray[np.float32], chance: np.random.Generator, modality: str
) -> None:
    """Store the film with the bits, polarity and look-ups that this detector has."""
    bits = int(chance.choice([8, 10, 12, 12, 14, 15, 16]))
    top = (1 << bits) - 1
    # Few detectors use their whole range.
    low, high = chance.uniform(0.0, 0.1) * top, chance.uniform(0.7, 1.0) * top
    stored = np.rint(low + image * np.float32(high - low)).astype(np.int64)
    stored[image <= 0] = 0
    inverted = bool(chance.random() < 0.4)
    if inverted:
        stored = top - stored
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.shape
    if modality == "DX":
        dataset.ImagerPixelSpacing = [f"{_LONGER_SIDE_MM / max(image.shape):.4f}"] * 2
    dataset.BitsAllocated = 8 if bits == 8 else 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    _put_look_ups(dataset, chance, stored, modality, inverted)
    data = stored.astype(np.uint8 if bits == 8 else "<u2").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"


def _put_look_ups(
    dataset: Any,
    chance: np.random.Generator,
    stored: npt.NDArray[np.int64],
    modality: str,
    inverted: bool,
) -> None:
    slope, intercept = 1, 0
    if modality == "DX" or chance.random() < 0.3:
        if chance.random() < 0.4:
            drawn = int(chance.integers(1, 4)), int(chance.integers(-500, 500))
            if modality == "CR":  # a DX film has no other than 1 and 0
                slope, intercept = drawn
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        dataset.RescaleType = "US"
    if modality == "DX":
        dataset.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    if chance.random() < 0.7:
        dark, bright = np.percentile(stored[::4, ::4], (0.5, 99.5)) * slope + intercept
        dataset.WindowCenter = round(float(dark + bright) / 2)
        dataset.WindowWidth = max(2, round(float(bright - dark) * chance.uniform(1.0, 1.2)))
    elif modality == "DX":  # which must have one: all that occurs
        low, high = int(stored.min()), int(stored.max())
        dataset.WindowCenter, dataset.WindowWidth = (low + high + 1) / 2, high - low + 1
