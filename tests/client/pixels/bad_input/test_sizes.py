"""A file that claims more than it holds, or whose header is damaged, costs no memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from bad_films import encapsulated, png_claiming
from cxrclient.errors import (
    NotReadable,
    TooLarge,
)
from cxrexport.preprocessing import decode_film


@pytest.mark.parametrize("size", [(600, 700), (65535, 65535), (20_000, 20_000)])
def test_dicom_that_claims_more_than_it_holds_is_too_large(
    size: tuple[int, int], make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    with pytest.raises(TooLarge):
        decode_film(make_dicom(grey, Rows=size[0], Columns=size[1]))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, RLELossless])
def test_compressed_dicom_that_claims_more_than_it_holds_is_too_large(
    syntax: str, make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    suffix = ".jpg" if syntax == JPEGBaseline8Bit else ".jp2"
    frame = cv2.imencode(suffix, grey)[1].tobytes()
    with pytest.raises(TooLarge):
        decode_film(encapsulated(frame, syntax, make_dicom, Rows=9000, Columns=9000))


def test_a_frame_larger_than_its_header_says_is_not_readable(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    frame = cv2.imencode(".jpg", np.tile(grey, (3, 3)))[1].tobytes()
    with pytest.raises(NotReadable, match="do not agree"):
        decode_film(encapsulated(frame, JPEGBaseline8Bit, make_dicom))


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (9_000, 9_000)])
def test_a_png_that_claims_more_than_it_holds_is_too_large(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge):
        decode_film(png_claiming(*size))


def test_a_jpeg_that_claims_more_than_it_holds_is_too_large(encodings: dict[str, bytes]) -> None:
    encoded = bytearray(encodings["jpeg"])
    frame = encoded.index(b"\xff\xc0")
    encoded[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(TooLarge):
        decode_film(bytes(encoded))


def test_a_deflated_object_that_inflates_without_end_is_too_large(
    make_dicom: Callable[..., bytes],
) -> None:
    encoded = make_dicom(np.zeros((8, 8), np.uint8), syntax="1.2.840.10008.1.2.1.99")
    start = 144 + int.from_bytes(encoded[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(230)) + packer.flush()
    with pytest.raises(TooLarge):
        decode_film(encoded[:start] + bomb)


def test_a_header_without_a_size_is_not_readable(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    with pytest.raises(NotReadable):
        decode_film(make_dicom(grey, Rows=None))


def test_a_damaged_look_up_table_is_not_readable(
    make_dicom: Callable[..., bytes], grey: np.ndarray
) -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [4096, 0, 16], b"\x01\x00\x02\x00"
    item["LUTData"].VR = "OW"
    with pytest.raises(NotReadable, match="look-up table"):
        decode_film(make_dicom(grey, VOILUTSequence=[item]))
