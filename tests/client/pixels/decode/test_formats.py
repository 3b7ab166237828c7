"""One film in DICOM, PNG and JPEG is the same film, and its header is reported in codes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from cxrexport.preprocessing import decode_film, preprocess
from shown_levels import SPEC, as_pydicom_sees_it, levels


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression_changes_nothing(
    syntax: str, make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    header = {"BitsStored": 12, "WindowCenter": 1800, "WindowWidth": 2000}
    plain = make_dicom(thorax, **header)
    dataset = dcmread(io.BytesIO(plain))
    dataset.compress(syntax, generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    np.testing.assert_array_equal(
        preprocess(buffer.getvalue(), SPEC).image, preprocess(plain, SPEC).image
    )


def test_a_deflated_object_is_read(make_dicom: Callable[..., bytes], thorax: np.ndarray) -> None:
    deflated = make_dicom(thorax, syntax="1.2.840.10008.1.2.1.99")
    np.testing.assert_array_equal(
        decode_film(deflated).pixels, decode_film(make_dicom(thorax)).pixels
    )


def test_dicom_without_a_preamble_is_read(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    encoded = make_dicom(thorax)
    np.testing.assert_array_equal(decode_film(encoded[132:]).pixels, decode_film(encoded).pixels)


def test_png_keeps_sixteen_bits(thorax: np.ndarray) -> None:
    fine = (thorax.astype(np.uint16) << 4) | 5
    encoded = cv2.imencode(".png", fine)[1].tobytes()
    assert len(np.unique(decode_film(encoded).pixels)) == len(np.unique(fine))


def test_png_of_8_and_16_bits_of_one_film_agree(thorax: np.ndarray) -> None:
    coarse = (thorax >> 4).astype(np.uint8)
    short = preprocess(cv2.imencode(".png", coarse)[1].tobytes(), SPEC).image
    long = preprocess(cv2.imencode(".png", coarse.astype(np.uint16) * 257)[1].tobytes(), SPEC).image
    # Both are rounded to 8 bits before CLAHE, which may spread one level over several.
    assert np.abs(short - long).max() <= 6 / 255
    assert np.abs(short - long).mean() < 0.1 / 255


@pytest.mark.parametrize("bits", [8, 16])
def test_dicom_and_png_of_the_same_pixels_agree_exactly(
    bits: int, make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    pixels = (thorax >> 4).astype(np.uint8) if bits == 8 else (thorax << 4).astype(np.uint16)
    png = cv2.imencode(".png", pixels)[1].tobytes()
    np.testing.assert_array_equal(
        preprocess(make_dicom(pixels), SPEC).image, preprocess(png, SPEC).image
    )


def test_a_grey_film_stored_as_colour_is_a_grey_film(thorax: np.ndarray) -> None:
    grey = (thorax >> 4).astype(np.uint8)
    plain = cv2.imencode(".png", grey)[1].tobytes()
    for stored in (cv2.merge([grey] * 3), cv2.merge([grey] * 3 + [np.full_like(grey, 255)])):
        encoded = cv2.imencode(".png", stored)[1].tobytes()
        np.testing.assert_array_equal(decode_film(encoded).pixels, decode_film(plain).pixels)


def test_a_grey_film_stored_as_colour_jpeg_is_a_grey_film(thorax: np.ndarray) -> None:
    grey = (thorax >> 4).astype(np.uint8)
    encoded = cv2.imencode(".jpg", cv2.merge([grey] * 3), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    assert decode_film(encoded.tobytes()).pixels.shape == grey.shape


def test_exif_orientation_is_ignored(thorax: np.ndarray) -> None:
    encoded = cv2.imencode(".jpg", (thorax >> 4).astype(np.uint8))[1].tobytes()
    # One big-endian IFD with the one tag 0x0112 (orientation), SHORT, 6: turn by 90 degrees.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = encoded[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + encoded[2:]
    np.testing.assert_array_equal(decode_film(turned).pixels, decode_film(encoded).pixels)


def png_with(encoded: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """The PNG with more chunks behind its IHDR."""
    extra = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return encoded[:33] + extra + encoded[33:]


def test_exif_orientation_of_a_png_is_ignored(thorax: np.ndarray) -> None:
    encoded = cv2.imencode(".png", thorax)[1].tobytes()
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = png_with(encoded, (b"eXIf", exif))
    np.testing.assert_array_equal(decode_film(turned).pixels, decode_film(encoded).pixels)


def test_a_grey_palette_is_a_grey_film(thorax: np.ndarray) -> None:
    grey = (thorax >> 4).astype(np.uint8)
    encoded = cv2.imencode(".png", grey)[1].tobytes()
    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 3, 0, 0, 0)
    ihdr = struct.pack(">I", 13) + b"IHDR" + header
    palette = bytes(np.repeat(np.arange(256, dtype=np.uint8), 3))
    indexed = encoded[:8] + ihdr + struct.pack(">I", zlib.crc32(ihdr[4:])) + encoded[33:]
    np.testing.assert_array_equal(
        decode_film(png_with(indexed, (b"PLTE", palette))).pixels, decode_film(encoded).pixels
    )


@pytest.mark.parametrize(
    ("header", "flag"),
    [
        ({}, "NO_WINDOW"),
        ({"ViewPosition": "LL"}, "VIEW_LATERAL"),
        ({"Modality": "MR"}, "MODALITY_OTHER"),
        ({"Modality": "OT"}, "MODALITY_OTHER"),
        ({"Modality": "CT"}, "NO_RADIOGRAPH"),
        ({"BurnedInAnnotation": "YES"}, "BURNED_IN_ANNOTATION"),
        ({"BodyPartExamined": "HAND"}, "BODY_PART_OTHER"),
        ({"LossyImageCompression": "01"}, "LOSSY_COMPRESSED"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR_PROCESSING"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "SECONDARY_CAPTURE"),
        ({"PixelPaddingValue": 65535}, "PADDED"),
    ],
)
def test_the_header_is_reported_in_codes(
    header: dict[str, Any], flag: str, make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    assert flag in decode_film(make_dicom(thorax, **header)).header_flags


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "OT", "SC", "RF", "XA", ""])
def test_a_modality_that_radiographs_travel_under_is_not_excluded(
    modality: str, make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    assert "NO_RADIOGRAPH" not in decode_film(make_dicom(thorax, Modality=modality)).header_flags


def test_an_ordinary_film_raises_no_flag(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    encoded = make_dicom(thorax, BitsStored=12, WindowCenter=1800, WindowWidth=2000)
    assert decode_film(encoded).header_flags == ()


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG1_J2KI.dcm"])
def test_a_real_film_looks_as_pydicom_shows_it(
    name: str, real_film: Callable[[str], bytes]
) -> None:
    encoded = real_film(name)
    np.testing.assert_allclose(levels(encoded), as_pydicom_sees_it(encoded), atol=2e-4)


def test_the_real_film_is_about_the_same_in_lossy_jpeg_2000(
    real_film: Callable[[str], bytes],
) -> None:
    plain, lossy = (preprocess(real_film(f"RG1_{n}.dcm"), SPEC).image for n in ("UNCR", "J2KI"))
    assert np.abs(plain - lossy).mean() < 0.01


@pytest.mark.parametrize(
    "name",
    [
        "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm",
        "Fake_MONOHR1.dcm",
        "highdicom_dx_image.dcm",
    ],
)
def test_the_shared_dicom_films_are_read(name: str, shared_data: Path) -> None:
    encoded = (shared_data / "dicom" / name).read_bytes()
    result = preprocess(encoded, SPEC)
    assert result.image.shape == (1, 256, 256)
    assert result.image.std() > 0.1
    np.testing.assert_allclose(levels(encoded), as_pydicom_sees_it(encoded), atol=5e-3)
