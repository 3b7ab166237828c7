"""Films as PNG and JPEG."""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import cv2
import numpy as np
import pytest

from cxrclient.errors import Colour
from cxrexport.preprocessing import decode_film
from encoded_films import (
    GOLDEN,
    MakeDicom,
    decoded,
    drawn,
    levels,
    spread,
)


@pytest.mark.parametrize("name", ["lossless_12bit.jpg", "jpegls_16bit.jls"])
def test_a_lossless_jpeg_file_keeps_its_bits(name: str, make_dicom: MakeDicom) -> None:
    film = decoded((GOLDEN / name).read_bytes())
    values = np.load(GOLDEN / "film_12bit.npy")
    np.testing.assert_array_equal(film.pixels, decode_film(make_dicom(values)).pixels)
    assert film.header_flags == ("NO_HEADER",)


def test_a_jpeg_file_of_12_bits_keeps_them(make_dicom: MakeDicom) -> None:
    film = decoded((GOLDEN / "extended_12bit.jpg").read_bytes())
    values = np.load(GOLDEN / "extended_12bit.npy")
    np.testing.assert_array_equal(film.pixels, decode_film(make_dicom(values)).pixels)
    assert film.header_flags == ("NO_HEADER", "LOSSY_COMPRESSED")


def png(rows: list[bytes], width: int, height: int, bits: int, interlaced: bool) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, int(interlaced))
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_an_interlaced_png_of_16_bits_is_read(make_dicom: MakeDicom) -> None:
    """Source: PNG specification, third edition, section 8.1 (Adam7)."""
    values = drawn(16)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1)]  # fmt: skip
    parts = [values[top::down, left::right] for top, left, down, right in passes]
    rows = [row.astype(">u2").tobytes() for part in parts for row in part]
    film = decoded(png(rows, values.shape[1], values.shape[0], 16, interlaced=True))
    np.testing.assert_array_equal(film.pixels, decode_film(make_dicom(values)).pixels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_png_of_few_bits_is_read(bits: int, make_dicom: MakeDicom) -> None:
    values = (drawn(8) >> (8 - bits)).astype(np.uint8)
    per_byte = 8 // bits
    shifts = bits * np.arange(per_byte - 1, -1, -1)
    packed = (values.reshape(values.shape[0], -1, per_byte) << shifts).sum(2).astype(np.uint8)
    rows = [row.tobytes() for row in packed]
    film = decoded(png(rows, values.shape[1], values.shape[0], bits, interlaced=False))
    np.testing.assert_allclose(levels(film), spread(values), atol=1e-4)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_grey_png_of_16_bits_stored_as_colour_is_a_grey_film(
    channels: int, make_dicom: MakeDicom
) -> None:
    values = drawn(16)
    opaque = [values] * 3 + [np.full_like(values, 65535)] * (channels - 3)
    film = decoded(cv2.imencode(".png", cv2.merge(opaque))[1].tobytes())
    np.testing.assert_array_equal(film.pixels, decode_film(make_dicom(values)).pixels)


def test_a_progressive_jpeg_is_the_film_of_the_ordinary_one() -> None:
    values = drawn(8)
    plain, progressive = (
        cv2.imencode(".jpg", values, [cv2.IMWRITE_JPEG_PROGRESSIVE, kind])[1].tobytes()
        for kind in (0, 1)
    )
    assert b"\xff\xc2" in progressive
    np.testing.assert_array_equal(decoded(progressive).pixels, decoded(plain).pixels)


@pytest.mark.parametrize("suffix", ["PNG", "JPEG"])
def test_a_colour_profile_changes_nothing(suffix: str) -> None:
    from PIL import Image, ImageCms

    values, files = drawn(8), []
    gamma = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (None, gamma):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, suffix, icc_profile=profile)
        files.append(buffer.getvalue())
    assert len(files[1]) > len(files[0]) + 300
    np.testing.assert_array_equal(decoded(files[0]).pixels, decoded(files[1]).pixels)


def test_a_coloured_palette_is_colour() -> None:
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(drawn(8)).convert("P")
    image.putpalette(list(itertools.chain.from_iterable((n, 255 - n, 7) for n in range(256))))
    image.save(buffer, "PNG")
    with pytest.raises(Colour):
        decode_film(buffer.getvalue())
