"""The pixels are those of other decoders, and a decoder's words are understood."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from compressed_streams import END, MakeDicom, jpeg
from cxrclient.pixels.codecs.claims import bare_jpeg
from cxrclient.pixels.codecs.jpeg_words import means_damage
from cxrexport.preprocessing import decode_film


def by_others(encoded: bytes) -> list[np.ndarray]:
    """The green channel, or the only one, by OpenCV and by Pillow."""
    mode = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
    images = [
        cv2.imdecode(np.frombuffer(encoded, np.uint8), mode),
        np.asarray(Image.open(io.BytesIO(encoded))),
    ]
    return [image if image.ndim == 2 else image[..., 1] for image in images]


FACTORS = {
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


@pytest.mark.parametrize("size", [(8, 8), (17, 33), (61, 47), (200, 301)])
@pytest.mark.parametrize("kind", ["grey", *FACTORS])
def test_the_pixels_are_those_of_opencv_and_pillow(
    kind: str, size: tuple[int, int], films: dict[int, np.ndarray], make_dicom: MakeDicom
) -> None:
    grey = cv2.resize(films[8], size[::-1])
    image = grey if kind == "grey" else cv2.merge([grey] * 3)
    sampling = [] if kind == "grey" else [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, FACTORS[kind]]
    for quality in (40, 92):
        for progressive in (0, 1):
            for restart in (0, 3):
                encoded = jpeg(image, cv2.IMWRITE_JPEG_QUALITY, quality,
                               cv2.IMWRITE_JPEG_PROGRESSIVE, progressive,
                               cv2.IMWRITE_JPEG_RST_INTERVAL, restart, *sampling)  # fmt: skip
                film = decode_film(encoded).pixels
                for expected in by_others(encoded):
                    plain = decode_film(make_dicom(np.ascontiguousarray(expected)))
                    np.testing.assert_array_equal(film, plain.pixels)


def test_real_films_have_the_pixels_that_opencv_gives(
    shared_data: Path, make_dicom: MakeDicom
) -> None:
    files = sorted(shared_data.glob("*/images/*.jpg"))[::40]
    assert len(files) > 20
    for file in files:
        encoded = file.read_bytes()
        expected = by_others(encoded)[0]
        np.testing.assert_array_equal(
            decode_film(encoded).pixels,
            decode_film(make_dicom(np.ascontiguousarray(expected))).pixels,
        )


@pytest.mark.parametrize(
    ("words", "damage"),
    [
        ("", False),
        ("Corrupt JPEG data: premature end of data segment\n", True),
        ("Corrupt JPEG data: bad Huffman code\n", True),
        ("Corrupt JPEG data: found marker 0xd9 instead of RST3\n", True),
        ("Premature end of JPEG file\n", True),
        ("Inconsistent progression sequence for component 0 coefficient 1\n", True),
        ("Corrupt JPEG data: 9 extraneous bytes before marker 0xd3\n", True),
        ("Corrupt JPEG data: 9 extraneous bytes before marker 0xd9\n", True),
        ("Corrupt JPEG data: 4 extraneous bytes before marker 0xd9\n", False),
        ("Corrupt JPEG data: bad ICC marker\n", False),
        ("Warning: unknown JFIF revision number 2.01\n", False),
        ("Invalid SOS parameters for sequential JPEG\n", False),
        ("something\nPremature end of JPEG file\n", True),
    ],
)
def test_a_decoder_s_words_mean_damage_or_an_oddity(words: str, damage: bool) -> None:
    assert means_damage(words, b"\xff\xd8...\x17" + bytes(6) + END) is damage


def test_zeros_where_restarts_should_be_are_no_padding() -> None:
    stream = b"\xff\xd8\xff\xdd\0\4\0\5...\x17" + bytes(6) + END
    assert means_damage("Corrupt JPEG data: 6 extraneous bytes before marker 0xd9", stream)


def test_a_bare_jpeg_says_in_its_scan_what_a_sequential_one_says(
    films: dict[int, np.ndarray],
) -> None:
    encoded = jpeg(films[8])
    scan = encoded.index(b"\xff\xda")
    odd = encoded[: scan + 7] + b"\0\0\x11" + encoded[scan + 10 :]
    assert bare_jpeg(odd) == bare_jpeg(encoded)
