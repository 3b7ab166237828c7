"""Films of every kind that hold a patient's secrets wherever they can."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.encaps import encapsulate, generate_frames

from secrets_of_a_patient import (
    ALL_KINDS,
    NAME,
    SECRETS,
)


def put_secrets(film: pydicom.Dataset) -> None:
    """Wherever a header has room, at the top and in sequences."""
    film.SpecificCharacterSet = "ISO_IR 192"
    film.PatientName, film.PatientID = NAME, SECRETS["number"]
    film.IssuerOfPatientID = SECRETS["institution"]
    film.OtherPatientIDs, film.PatientBirthDate = SECRETS["number"], SECRETS["birth date"]
    film.AccessionNumber = SECRETS["accession"]
    film.ReferringPhysicianName = film.OperatorsName = SECRETS["physician"]
    film.InstitutionName = film.InstitutionAddress = SECRETS["institution"]
    film.ImageComments = film.StudyDescription = film.SeriesDescription = SECRETS["text"]
    film.PatientComments = film.AdditionalPatientHistory = SECRETS["text"]
    film.ProtocolName = film.RequestedProcedureDescription = SECRETS["text"]
    film.BodyPartExamined, film.StudyInstanceUID = "CHEST", "1.2.840.55.4711.1"
    film.private_block(0x0009, SECRETS["text"], create=True).add_new(1, "LO", NAME)
    film.private_block(0x6001, SECRETS["text"], create=True).add_new(1, "UN", NAME.encode())
    film.private_block(0x7FE1, SECRETS["text"], create=True).add_new(1, "OB", NAME.encode())
    film.add_new((0x6000, 0x0010), "US", 16)
    film.add_new((0x6000, 0x0011), "US", 8)
    film.add_new((0x6000, 0x0022), "LO", SECRETS["text"])
    film.add_new((0x6000, 0x3000), "OW", SECRETS["overlay"].encode())
    film.add_new((0x5000, 0x2500), "LO", SECRETS["text"])
    icon = pydicom.Dataset()
    icon.Rows = icon.Columns = 4
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.BitsAllocated = icon.BitsStored = 8
    icon.HighBit, icon.PixelRepresentation = 7, 0
    icon.PixelData = SECRETS["overlay"].encode()
    film.IconImageSequence = [icon]
    group, content, window = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    content.FrameComments = SECRETS["text"]
    window.WindowCenter, window.WindowWidth = 2000, 3000
    window.WindowCenterWidthExplanation = SECRETS["text"]
    group.FrameContentSequence, group.FrameVOILUTSequence = [content], [window]
    film.PerFrameFunctionalGroupsSequence = film.SharedFunctionalGroupsSequence = [group]
    film.file_meta.SourceApplicationEntityTitle = "ZORNUNSEEN"
    film.file_meta.PrivateInformationCreatorUID = "1.2.3"
    film.file_meta.PrivateInformation = NAME.encode().ljust(32)
    film.preamble = NAME.encode().ljust(128, b"\0")
    film.add_new(0xFFFCFFFC, "OB", SECRETS["unseen"].encode())


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg_with_secrets(stream: bytes) -> bytes:
    """Comments, application segments, and bytes behind the end."""
    text = "\0".join(SECRETS.values()).encode()
    extra = segment(0xFE, text) + segment(0xE1, b"Exif\0\0" + text) + segment(0xED, text)
    return stream[:2] + extra + stream[2:] + SECRETS["unseen"].encode()


def j2k_with_secrets(stream: bytes) -> bytes:
    """A comment in the main header, and bytes behind the end."""
    end_of_size = 4 + int.from_bytes(stream[4:6], "big")
    comment = segment(0x64, b"\0\1" + "\0".join(SECRETS.values()).encode("latin-1"))
    return stream[:end_of_size] + comment + stream[end_of_size:] + SECRETS["unseen"].encode()


def encapsulated(film: pydicom.Dataset, stream: bytes, syntax: str) -> None:
    """The stream in two fragments, an offset table that says more than it should."""
    stream += b"\0" * (len(stream) % 2)
    value = encapsulate([stream], fragments_per_frame=2, has_bot=False)
    table = SECRETS["unseen"].encode() + b"  "
    film.PixelData = struct.pack("<HHI", 0xFFFE, 0xE000, len(table)) + table + value[8:]
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    film.file_meta.TransferSyntaxUID = syntax


def dicom_with_secrets(kind: str, plain: Path, grey: np.ndarray) -> bytes:
    film, syntax = pydicom.dcmread(plain), None
    if kind == "baseline":
        film.BitsAllocated = film.BitsStored = 8
        film.HighBit = 7
        stream = jpeg_with_secrets(cv2.imencode(".jpg", grey)[1].tobytes())
        syntax = "1.2.840.10008.1.2.4.50"
    elif kind in ("JPEG-LS", "JPEG 2000"):
        syntax = "1.2.840.10008.1.2.4." + ("80" if kind == "JPEG-LS" else "90")
        film.compress(syntax, generate_instance_uid=False)
        stream = next(generate_frames(film.PixelData, number_of_frames=1)).rstrip(b"\0")
        stream = (jpeg_with_secrets if kind == "JPEG-LS" else j2k_with_secrets)(stream)
    elif kind == "RLE":
        syntax = "1.2.840.10008.1.2.5"
        film.compress(syntax, generate_instance_uid=False, encoding_plugin="pylibjpeg")
        stream = next(generate_frames(film.PixelData, number_of_frames=1))
        stream += SECRETS["unseen"].encode()
    put_secrets(film)
    if syntax:
        encapsulated(film, stream, syntax)
        if kind == "RLE":  # a frame of RLE is one fragment
            film.PixelData = encapsulate([stream])
            film["PixelData"].is_undefined_length = True
    else:
        film.PixelData += SECRETS["unseen"].encode()
    if kind == "one of several frames":
        film.SOPClassUID, film.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.7.3", 1
    if kind == "deflated":
        film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    buffer = io.BytesIO()
    form = {"implicit_vr": kind == "implicit", "little_endian": True}
    if kind == "implicit":
        film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    film.save_as(buffer, enforce_file_format=True, **({} if syntax else form))
    return buffer.getvalue()


def png_with_secrets(grey: np.ndarray) -> bytes:
    info, exif, text = PngInfo(), Image.Exif(), "\n".join(SECRETS.values())
    info.add_text("Patient", text.encode("latin-1"))
    info.add_text("Comment", text, zip=True)
    info.add_itxt("Description", text, zip=False)
    info.add(b"zoRn", text.encode())
    exif[0x010E], exif[0x9C9C] = text, text.encode("utf-16-le")
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG", pnginfo=info, exif=exif, icc_profile=text.encode())
    return buffer.getvalue() + SECRETS["unseen"].encode()


@pytest.fixture(scope="session")
def films(
    tmp_path_factory: pytest.TempPathFactory,
    drawn_film: Callable[..., np.ndarray],
    write_dicom: Callable[..., Path],
) -> dict[str, Path]:
    """A film of each kind, under names that say nothing."""
    folder, plain = tmp_path_factory.mktemp("films"), tmp_path_factory.mktemp("plain")
    made = {}
    for number, kind in enumerate(ALL_KINDS):
        pixels = drawn_film(number)
        grey = (pixels >> 4).astype(np.uint8)
        if kind == "png":
            encoded = png_with_secrets(grey)
        elif kind == "jpeg":
            encoded = jpeg_with_secrets(cv2.imencode(".jpg", grey)[1].tobytes())
        else:
            without = write_dicom(plain / f"{number}.dcm", pixels)
            encoded = dicom_with_secrets(kind, without, grey)
        made[kind] = folder / f"{number}.film"
        made[kind].write_bytes(encoded)
    return made
