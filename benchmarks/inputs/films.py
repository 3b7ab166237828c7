"""Films to measure with: one real, one drawn, and the same in other transfer syntaxes."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cxrexport.phantom import draw_phantom

DRAWN_BITS = 12


def real_film(name: str = "RG1_UNCR.dcm") -> Path:
    """A CR chest film of the package pydicom-data: 1955×1841, 15 bits, MONOCHROME1, uncompressed.

    Raises:
        FileNotFoundError: the package is missing.
    """
    from pydicom.data import get_testdata_file

    found = get_testdata_file(name, download=False)
    if not found:
        raise FileNotFoundError(f"{name} is missing: pip install pydicom-data")
    return Path(str(found))


def drawn_film(size_px: int) -> bytes:
    """A drawn square film, uncompressed, 12 of 16 bits, with a window: as from a DX detector."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import (
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
        generate_uid,
    )

    drawn = draw_phantom(3, positive=True, size_px=size_px).image
    scaled = cv2.resize(drawn, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    stored = np.rint(scaled * ((1 << DRAWN_BITS) - 1)).astype("<u2")
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    film.SOPClassUID = DigitalXRayImageStorageForPresentation
    film.SOPInstanceUID = generate_uid(entropy_srcs=["benchmark", str(size_px)])
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    film.Modality, film.BodyPartExamined, film.ViewPosition = "DX", "CHEST", "PA"
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    film.Rows, film.Columns = stored.shape
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, DRAWN_BITS, DRAWN_BITS - 1
    film.PixelRepresentation = 0
    film.WindowCenter, film.WindowWidth = 2048, 3600
    film.PixelData = stored.tobytes()
    film["PixelData"].VR = "OW"
    return _bytes_of(film)


def compressed(encoded: bytes) -> dict[str, bytes]:
    """The film in the lossless compressions that archives use, by name."""
    from pydicom import dcmread
    from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

    films = {}
    for name, syntax in (
        ("JPEG 2000 lossless", JPEG2000Lossless),
        ("JPEG-LS lossless", JPEGLSLossless),
        ("RLE", RLELossless),
    ):
        film = dcmread(io.BytesIO(encoded))
        plugin = "pydicom" if syntax == RLELossless else ""
        film.compress(syntax, generate_instance_uid=False, encoding_plugin=plugin)
        films[name] = _bytes_of(film)
    films["JPEG lossless"] = _jpeg_lossless(encoded)
    return films


def _jpeg_lossless(encoded: bytes) -> bytes:
    """Process 14, first-order prediction, by GDCM: pydicom itself does not write it."""
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.dcm", Path(folder) / "after.dcm"
        before.write_bytes(encoded)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(before))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(after))
        if not reader.Read():
            raise RuntimeError("GDCM cannot read the film")
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError("GDCM cannot compress the film")
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise RuntimeError("GDCM cannot write the film")
        return after.read_bytes()


def _bytes_of(film: Any) -> bytes:
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
