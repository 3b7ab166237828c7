"""What the objects of one film share: whom they are of, what made them, when, and how they end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.dicom_results.pydicom_parts import (
    Dataset,
    ExplicitVRLittleEndian,
    FileMetaDataset,
    convert_encodings,
    correct_ambiguous_vr,
    dcmwrite,
)
from cxrclient.dicom_results.study import MANUFACTURER as MANUFACTURER, FilmHeader
from cxrclient.dicom_results.uids import uid_of
from cxrclient.dicom_results.words import plain
from cxrclient.errors import FilmError
from cxrclient.files import sha256_of
from cxrclient.pages import lung_outlines
from cxrclient.wire import EnsembleInfo, Prediction

SERIES = {"sr": 9801, "seg": 9802, "sc": 9803, "gsps": 9804, "neighbours": 9805}
_LATER = "2.25.0"  # in the place of an object's UID, while that is worked out
_IMPLEMENTATION = uid_of("implementation")


@dataclass(frozen=True, repr=False)
class Subject:
    """A film with its fate, as the builders of objects take it.

    Attributes:
        header: of the film.
        rows: of the film; so are columns.
        pixels_digest: sha256 (hex) of the film's decoded pixels.
        result: made with `maps=True`; or why there is none.
        ensemble: that judged it.
    """

    header: FilmHeader
    rows: int
    columns: int
    pixels_digest: str
    result: Prediction | FilmError
    ensemble: EnsembleInfo

    @cached_property
    def neutral(self) -> Dataset:
        """A header that any library takes for the film's."""
        return self.header.neutral(self.rows, self.columns)

    @cached_property
    def name(self) -> str:
        """The model's, as DICOM can hold it."""
        return plain(self.ensemble.name, 64)

    @cached_property
    def outlines(self) -> list[npt.NDArray[np.float64]]:
        """Of the lungs, as `lung_outlines` gives them; none of a film without a prediction."""
        return [] if isinstance(self.result, FilmError) else lung_outlines(self.result)

    def series_uid(self, kind: str) -> str:
        """The series of a kind of objects: one for each film and model."""
        return uid_of(f"{kind} series", self.header.sop_uid, self.ensemble.digest)

    def made_by(self, kind: str) -> dict[str, Any]:
        """Series and equipment of an object, as highdicom's constructors name them."""
        date, time = self.header.moment
        return {
            "sop_instance_uid": _LATER,
            "series_instance_uid": self.series_uid(kind),
            "series_number": SERIES[kind],
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": self.name,
            "software_versions": software_version(),
            "device_serial_number": self.ensemble.digest[:16],
            "content_date": date,
            "content_time": time,
        }

    def finish(self, kind: str, result: Dataset) -> Dataset:
        """Give an object the film's identity and date, and the UID that follows from all it holds.

        Args:
            kind: of object.
            result: of which whatever would differ from run to run is pinned.
        """
        date, time = self.header.moment
        for name in ("InstanceCreation", "Content", "Series", "PresentationCreation"):
            if name == "Series" or f"{name}Date" in result:
                setattr(result, f"{name}Date", date)
                setattr(result, f"{name}Time", time)
        result.ContributingEquipmentSequence = [self._equipment()]
        # Type 2C of all images.
        if "Rows" in result and "PatientOrientation" not in result:
            result.PatientOrientation = list(self.header.orientation or ()) or None
        self.header.put_into(result)
        self._name_own_class(result)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = result.SOPClassUID
        meta.MediaStorageSOPInstanceUID = _LATER
        told = getattr(result, "file_meta", None)
        meta.TransferSyntaxUID = told.TransferSyntaxUID if told else ExplicitVRLittleEndian
        meta.ImplementationClassUID = _IMPLEMENTATION
        meta.ImplementationVersionName = MANUFACTURER.upper()
        result.file_meta = meta
        # So pydicom writes the film's own elements as they are, whatever their character set.
        correct_ambiguous_vr(result, True)
        words = result.get("SpecificCharacterSet") or "ISO_IR 6"
        result.set_original_encoding(False, True, convert_encodings(words))
        result.SOPInstanceUID = _LATER
        content = sha256_of(encoded(result))
        uid = uid_of(kind, self.header.sop_uid, self.pixels_digest, self.ensemble.digest, content)
        result.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = uid
        return result

    def _name_own_class(self, result: Dataset) -> None:
        """Refer to the film by its own class, which libraries need not know."""
        for element in result.elements():
            if element.VR == "SQ" and not element.is_raw:
                for item in element.value:
                    self._name_own_class(item)
        if result.get("ReferencedSOPInstanceUID") == self.header.sop_uid:
            result.ReferencedSOPClassUID = self.header.sop_class

    def _equipment(self) -> Dataset:
        """What made the object. Source: DICOM PS3.3 C.12.1; IHE AI Results asks for the UID."""
        date, time = self.header.moment
        equipment, purpose = Dataset(), Dataset()
        purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
        purpose.CodeMeaning = "Processing Equipment"
        equipment.PurposeOfReferenceCodeSequence = [purpose]
        equipment.Manufacturer = MANUFACTURER
        equipment.ManufacturerModelName = self.name
        equipment.SoftwareVersions = software_version()
        equipment.DeviceUID = device_uid(self.ensemble)
        equipment.ContributionDateTime = date + time
        return equipment


def device_uid(ensemble: EnsembleInfo) -> str:
    """The UID of a model as a device."""
    return uid_of("device", ensemble.digest)


@cache
def software_version() -> str:
    """The version of this package."""
    return version("cxr-triton")


def encoded(result: Dataset) -> bytes:
    """An object as the bytes of its file."""
    buffer = BytesIO()
    dcmwrite(buffer, result, enforce_file_format=True)
    return buffer.getvalue()
