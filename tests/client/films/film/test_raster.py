"""What of a PNG or JPEG travels, also of one inside DICOM."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit

from cxrclient.films.film import read_film
from cxrclient.films.kinds import file_kind
from secret_values import LEAK


@pytest.mark.parametrize("fixture", ["png_with_secrets", "jpeg_with_secrets"])
def test_raster_metadata_stays_and_the_pixels_are_the_same(fixture, request):
    before = request.getfixturevalue(fixture)
    after = read_film(before).payload
    assert len(LEAK.findall(before)) >= 4
    assert LEAK.search(after) is None
    was, now = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        for data in (before, after)
    )
    np.testing.assert_array_equal(was, now)


def test_an_adobe_marker_keeps_a_colour_jpeg_in_its_colours(drawn_film):
    grey = (drawn_film() >> 4).astype(np.uint8)
    buffer = io.BytesIO()
    rgb = Image.merge("RGB", [Image.fromarray(np.roll(grey, n * 40, axis=1)) for n in range(3)])
    rgb.save(buffer, "JPEG", keep_rgb=True)
    before, after = buffer.getvalue(), read_film(buffer.getvalue()).payload
    np.testing.assert_array_equal(
        *(cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_COLOR) for d in (before, after))
    )


@pytest.fixture
def adobe_rgb_jpeg(drawn_film):
    """A grey film as RGB, components 1, 2, 3: only its Adobe segment says that it is not YCbCr."""
    grey = Image.fromarray((drawn_film() >> 4).astype(np.uint8))
    buffer = io.BytesIO()
    Image.merge("RGB", [grey] * 3).save(buffer, "JPEG", keep_rgb=True)
    jpeg = bytearray(buffer.getvalue())
    for marker, first in ((b"\xff\xc0", 10), (b"\xff\xda", 5)):
        step = 3 if marker == b"\xff\xc0" else 2
        start = jpeg.index(marker) + first
        assert jpeg[start : start + 3 * step : step] == b"RGB"
        jpeg[start : start + 3 * step : step] = b"\1\2\3"
    adobe = jpeg.index(b"\xff\xee\x00\x0eAdobe")
    assert jpeg[adobe + 15] == 0
    jpeg[adobe + 9 : adobe + 15] = b"SECRET"
    return bytes(jpeg)


def test_an_adobe_segment_keeps_its_transform_and_nothing_else(adobe_rgb_jpeg):
    payload = read_film(adobe_rgb_jpeg).payload
    was, now = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        for data in (adobe_rgb_jpeg, payload)
    )
    assert np.ptp(was.astype(int), axis=2).max() == 0
    np.testing.assert_array_equal(was, now)
    assert b"SECRET" in adobe_rgb_jpeg
    assert b"SECRET" not in payload


def test_an_adobe_segment_in_dicom_keeps_its_transform_and_nothing_else(
    adobe_rgb_jpeg, tmp_path, write_dicom
):
    film = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    film.PixelData = pydicom.encaps.encapsulate([adobe_rgb_jpeg])
    film["PixelData"].is_undefined_length = True
    film.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    film.save_as(tmp_path / "b.dcm")
    sent = pydicom.dcmread(io.BytesIO(read_film(tmp_path / "b.dcm").payload)).PixelData
    jpeg = next(pydicom.encaps.generate_frames(sent, number_of_frames=1))
    assert b"SECRET" not in jpeg
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert np.ptp(grey.astype(int), axis=2).max() == 0


def test_the_payload_of_a_png_has_no_chunk_but_the_image(png_with_secrets):
    payload = read_film(png_with_secrets).payload
    position, kinds = 8, []
    while position < len(payload):
        length, kind = struct.unpack_from(">I4s", payload, position)
        body = payload[position + 4 : position + 8 + length]
        assert zlib.crc32(body) == int.from_bytes(payload[position + 8 + length :][:4], "big")
        kinds.append(kind)
        position += 12 + length
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


def test_kinds_are_told_by_content_and_not_by_name(tmp_path, png_with_secrets):
    path = tmp_path / "film.dcm"
    path.write_bytes(png_with_secrets)
    assert file_kind(png_with_secrets[:132]) == "png"
    assert read_film(Path(path)).payload.startswith(b"\x89PNG")
