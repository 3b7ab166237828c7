"""What is no film, or not one grey film of one frame, gets a code of its own."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)

from bad_films import encapsulated, png_chunk, png_claiming
from cxrclient.errors import (
    Colour,
    Constant,
    MultiFrame,
    NoPixels,
    NotReadable,
)
from cxrexport.preprocessing import decode_film


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\x00", b"GIF89a" + bytes(100), b"%PDF-1.7", b"II*\x00" + bytes(500), bytes(4096)],
    ids=["empty", "one byte", "gif", "pdf", "tiff", "zeros"],
)
def test_what_is_no_image_is_not_readable(encoded: bytes) -> None:
    with pytest.raises(NotReadable):
        decode_film(encoded)


@pytest.mark.parametrize(
    "kind",
    ["png", "jpeg", "progressive jpeg", "dicom", "deflated dicom", "jpeg 2000 dicom"],
)
@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_not_readable(
    kind: str, share: float, encodings: dict[str, bytes]
) -> None:
    encoded = encodings[kind]
    with pytest.raises(NotReadable):
        decode_film(encoded[: int(len(encoded) * share)])


def test_a_png_with_a_flipped_bit_is_not_readable(encodings: dict[str, bytes]) -> None:
    damaged = bytearray(encodings["png"])
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(NotReadable):
        decode_film(bytes(damaged))


def test_a_png_with_too_few_rows_is_not_readable() -> None:
    with pytest.raises(NotReadable):
        decode_film(png_claiming(100, 100))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless])
def test_a_truncated_frame_in_a_whole_object_is_not_readable(
    syntax: str, grey: np.ndarray, make_dicom: Callable[..., bytes]
) -> None:
    suffix = ".jpg" if syntax == JPEGBaseline8Bit else ".jp2"
    frame = cv2.imencode(suffix, grey)[1].tobytes()
    assert decode_film(encapsulated(frame, syntax, make_dicom)).pixels.shape == grey.shape
    with pytest.raises(NotReadable):
        decode_film(encapsulated(frame[: len(frame) // 2], syntax, make_dicom))


def test_an_object_without_an_image_has_no_pixels(make_dicom: Callable[..., bytes]) -> None:
    with pytest.raises(NoPixels):
        decode_film(make_dicom(np.zeros((8, 8), np.uint8), PixelData=None))


def test_an_object_that_is_cut_within_its_header_is_not_readable(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    film = make_dicom(grey)
    rows = film.index(b"\x28\x00\x10\x00US")
    cut_at = [rows + n for n in range(1, 10)]  # in its tag, VR, length and value
    for end in cut_at:
        with pytest.raises(NotReadable):
            decode_film(film[:end])
    with pytest.raises(NoPixels):
        decode_film(film[:rows])


def test_several_frames_are_refused(make_dicom: Callable[..., bytes], grey: np.ndarray) -> None:
    with pytest.raises(MultiFrame):
        decode_film(make_dicom(np.concatenate([grey, grey]), Rows=380, NumberOfFrames=2))


def test_an_animated_png_is_several_frames() -> None:
    with pytest.raises(MultiFrame):
        decode_film(png_claiming(10, 10, png_chunk(b"acTL", struct.pack(">II", 2, 0))))


def test_colour_is_refused_in_dicom(make_dicom: Callable[..., bytes], grey: np.ndarray) -> None:
    pixels = np.stack([grey] * 3, axis=-1)
    encoded = make_dicom(
        pixels, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0
    )
    with pytest.raises(Colour):
        decode_film(encoded)


def test_a_palette_is_refused_in_dicom(make_dicom: Callable[..., bytes], grey: np.ndarray) -> None:
    with pytest.raises(Colour):
        decode_film(make_dicom(grey, PhotometricInterpretation="PALETTE COLOR"))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_colour_is_refused_in_images(suffix: str, grey: np.ndarray) -> None:
    tinted = cv2.merge([grey, grey, np.clip(grey.astype(int) + 40, 0, 255).astype(np.uint8)])
    with pytest.raises(Colour):
        decode_film(cv2.imencode(suffix, tinted)[1].tobytes())


def test_a_transparent_image_is_refused(grey: np.ndarray) -> None:
    with pytest.raises(Colour):
        decode_film(cv2.imencode(".png", cv2.merge([grey] * 4))[1].tobytes())


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_film_of_one_value_is_constant(value: int, make_dicom: Callable[..., bytes]) -> None:
    flat = np.full((64, 64), value, np.uint8)
    for encoded in (
        make_dicom(flat),
        make_dicom(flat.astype(np.uint16) << 8),
        cv2.imencode(".png", flat)[1].tobytes(),
        cv2.imencode(".jpg", flat)[1].tobytes(),
    ):
        with pytest.raises(Constant):
            decode_film(encoded)


def test_a_film_of_padding_only_is_constant(make_dicom: Callable[..., bytes]) -> None:
    with pytest.raises(Constant):
        decode_film(make_dicom(np.full((64, 64), 9, np.uint16), PixelPaddingValue=9))


def test_one_value_beside_padding_is_constant(make_dicom: Callable[..., bytes]) -> None:
    pixels = np.full((64, 64), 9, np.uint16)
    pixels[:9] = 0
    with pytest.raises(Constant):
        decode_film(make_dicom(pixels, PixelPaddingValue=0))
