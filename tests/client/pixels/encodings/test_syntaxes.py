"""One film in every transfer syntax is one film."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGExtended12Bit,
)

from cxrexport.preprocessing import decode_film
from encoded_films import (
    GOLDEN,
    MakeDicom,
    decoded,
    drawn,
    written,
)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 15, 16])
def test_a_film_in_any_lossless_encoding_is_the_same_film(
    bits: int,
    signed: bool,
    lossless_syntax: str,
    make_dicom: MakeDicom,
    recompress: Callable[[bytes, str], bytes],
) -> None:
    values = drawn(bits, signed)
    header = {
        "BitsStored": bits,
        "WindowCenter": float(np.median(values)),
        "WindowWidth": 0.6 * 2**bits,
        "PixelPaddingValue": int(values.min()),
    }
    plain = decode_film(make_dicom(values, **header))
    film = decoded(recompress(make_dicom(values, **header), lossless_syntax))
    np.testing.assert_array_equal(film.pixels, plain.pixels)
    np.testing.assert_array_equal(film.padding, plain.padding)


def around(stream: bytes, syntax: str, make_dicom: MakeDicom, **header: Any) -> bytes:
    """A DICOM object of 12 bits, 40×32, around a compressed stream."""
    dataset = dcmread(io.BytesIO(make_dicom(np.zeros((40, 32), np.uint16), **header)))
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    return written(dataset, syntax)


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2K])
def test_high_throughput_jpeg_2000_is_read(syntax: str, make_dicom: MakeDicom) -> None:
    values = np.load(GOLDEN / "film_12bit.npy")
    stream = (GOLDEN / "htj2k_lossless_12bit.j2c").read_bytes()
    film = decoded(around(stream, syntax, make_dicom, BitsStored=12))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_extended_jpeg_of_12_bits_is_decoded_as_libjpeg_turbo_decodes_it(
    make_dicom: MakeDicom,
) -> None:
    stream = (GOLDEN / "extended_12bit.jpg").read_bytes()
    film = decoded(around(stream, JPEGExtended12Bit, make_dicom, BitsStored=12))
    expected = make_dicom(np.load(GOLDEN / "extended_12bit.npy"), BitsStored=12)
    np.testing.assert_array_equal(film.pixels, decode_film(expected).pixels)
    assert "LOSSY_COMPRESSED" in film.header_flags


def test_what_extended_jpeg_holds_the_stream_says_and_not_the_header(
    make_dicom: MakeDicom,
) -> None:
    """8 bits in an object that says 12 are read as 8 bits."""
    values = drawn(8, rows=40, columns=32)
    stream = cv2.imencode(".jpg", values, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    film = decoded(around(stream, JPEGExtended12Bit, make_dicom, BitsStored=12))
    expected = decode_film(make_dicom(cv2.imdecode(np.frombuffer(stream, np.uint8), 0)))
    np.testing.assert_array_equal(film.pixels, expected.pixels)


@pytest.mark.parametrize("near", [1, 3])
def test_near_lossless_jpeg_ls_is_as_near_as_it_says(near: int, make_dicom: MakeDicom) -> None:
    values = drawn(12)
    dataset = dcmread(io.BytesIO(make_dicom(values, BitsStored=12)))
    dataset.compress("1.2.840.10008.1.2.4.81", generate_instance_uid=False, jls_error=near)
    film = decoded(written(dataset, "1.2.840.10008.1.2.4.81"))
    plain = decode_film(make_dicom(values, BitsStored=12))
    step = 65535 // 4095
    difference = np.abs(film.pixels.astype(int) - plain.pixels)
    assert 0 < difference.max() <= 2 * (near + 1) * step


def test_a_j2k_stream_padded_behind_its_end_is_read(
    make_dicom: MakeDicom, recompress: Callable[[bytes, str], bytes]
) -> None:
    """Some writers make its length even with FF."""
    values = drawn(12)
    dataset = dcmread(
        io.BytesIO(recompress(make_dicom(values, BitsStored=12), str(JPEG2000Lossless)))
    )
    stream = next(generate_frames(dataset.PixelData, number_of_frames=1)).rstrip(b"\0")
    dataset.PixelData = encapsulate([stream + b"\xff" * (2 - len(stream) % 2)])
    film = decoded(written(dataset, JPEG2000Lossless))
    np.testing.assert_array_equal(
        film.pixels, decode_film(make_dicom(values, BitsStored=12)).pixels
    )
