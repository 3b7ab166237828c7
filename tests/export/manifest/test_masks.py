"""A mask is whatever picture OpenCV reads, but for the format that it must not be given."""

import cv2
import numpy as np
import pytest

from cxrexport.manifest.masks import read_mask

MASK = np.zeros((96, 80), np.uint8)
MASK[16:80, 20:60] = 255


@pytest.mark.parametrize("kind", [".png", ".bmp", ".tif", ".pgm"])
def test_a_mask_of_any_lossless_format_is_read(tmp_path, kind):
    path = tmp_path / f"mask{kind}"
    cv2.imwrite(str(path), MASK)

    np.testing.assert_array_equal(read_mask(path), MASK)


def test_jpeg_2000_never_reaches_opencv_whatever_its_name_says(tmp_path):
    encoded = cv2.imencode(".jp2", MASK)[1].tobytes()
    codestream = encoded[encoded.index(b"\xff\x4f\xff\x51") :]
    assert cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE) is not None
    for name, content in (("mask.png", encoded), ("mask.tif", codestream)):
        path = tmp_path / name
        path.write_bytes(content)
        assert read_mask(path) is None


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_what_is_no_picture_is_none(tmp_path, content):
    path = tmp_path / "mask.png"
    path.write_bytes(content)

    assert read_mask(path) is None
    assert read_mask(tmp_path / "missing.png") is None
