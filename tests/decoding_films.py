"""Fixtures of decoding and preprocessing: a drawn thorax, and a writer of DICOM around pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid

DicomWriter = Callable[..., bytes]


def _dicom(pixels: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **header: Any) -> bytes:
    """Write one DX object; keyword arguments set, or with None delete, attributes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["test"])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID = "SECRET^NAME", "SECRET-ID"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "PA"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = header.get("BitsStored", bits) - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if syntax == ExplicitVRBigEndian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in header.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_dicom() -> DicomWriter:
    return _dicom


@pytest.fixture(scope="session")
def thorax() -> np.ndarray:
    """A crude 12-bit chest film, 380×340: bright body, two dark lungs, noise; uint16."""
    rows, columns = np.mgrid[0:380, 0:340]
    body = 2600.0 + 300 * np.cos(columns / 120) - 200 * rows / 380
    for centre in (105, 235):
        body -= 1700 * np.exp(-(((columns - centre) / 45) ** 4 + ((rows - 190) / 110) ** 4))
    noise = np.random.default_rng(7).normal(0, 25, body.shape)
    film = cv2.GaussianBlur(body + noise, (3, 3), 0)
    return np.clip(film, 0, 4095).astype(np.uint16)


@pytest.fixture(scope="session")
def real_film() -> Callable[[str], bytes]:
    """Real films of the package pydicom-data, from its own folder and never from the network."""

    def read(name: str) -> bytes:
        store = pytest.importorskip("data_store", reason="pydicom-data is not installed")
        path = Path(store.__file__).parent / "data" / name
        if not path.is_file():
            pytest.skip(f"pydicom-data has no {name}")
        return path.read_bytes()

    return read


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development films beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the development films (../shared/data) are not on this machine")
    return folder
