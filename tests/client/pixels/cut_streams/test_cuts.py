"""A film cut off inside its compressed stream is refused, though decoders draw what there is."""

from __future__ import annotations

import re
import struct
import zlib

import cv2
import numpy as np
import pytest

from compressed_streams import END, GOLDEN, JPEG, SHARES, STREAMS, MakeDicom, Stream, jpeg, refused
from cxrexport.preprocessing import decode_film

BY_BLOCKS = STREAMS[:4]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_off_in_front_of_its_end_marker_is_not_readable(
    name: str, share: float, streams: dict[str, Stream], make_dicom: MakeDicom
) -> None:
    stream = streams[name]
    forms = [stream.in_dicom(make_dicom, stream.cut(share))]
    forms += [stream.cut(share)] if stream.is_jpeg else []
    assert [refused(form) for form in forms] == ["NOT_READABLE"] * len(forms)


@pytest.mark.parametrize("name", STREAMS)
def test_the_whole_stream_is_the_film(
    name: str, streams: dict[str, Stream], films: dict[int, np.ndarray], make_dicom: MakeDicom
) -> None:
    stream = streams[name]
    film = decode_film(stream.in_dicom(make_dicom))
    if stream.is_jpeg:
        np.testing.assert_array_equal(decode_film(stream.encoded).pixels, film.pixels)
    if name in BY_BLOCKS:
        expected = cv2.imdecode(np.frombuffer(stream.encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    elif stream.shape == (40, 32):
        source = "extended_12bit.npy" if name == "extended 12" else "film_12bit.npy"
        expected = np.load(GOLDEN / source)
    elif "near" in name or "lossy" in name:
        return  # compared with other decoders in test_pydicom_files.py
    else:
        expected = films[stream.bits]
    plain = decode_film(make_dicom(expected, BitsStored=stream.bits))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("name", ["baseline", "baseline, restarts", "progressive"])
def test_no_single_byte_is_lacking(name: str, thorax: np.ndarray) -> None:
    """Wherever the cut lies: between scans, between restarts, or in front of the last byte."""
    small = cv2.resize((thorax >> 4).astype(np.uint8), (48, 40))
    options = {
        "baseline": (),
        "baseline, restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    }[name]
    stream = Stream(jpeg(small, *options), JPEG + "50", 8, small.shape)
    begin, end = stream.data
    assert refused(stream.encoded) == "ok"
    drawn = [
        end - at
        for at in range(begin, end)
        if refused(stream.encoded[:at].rstrip(b"\xff") + END) != "NOT_READABLE"
    ]
    assert drawn == []


@pytest.mark.parametrize("share", SHARES)
def test_a_png_cut_off_with_right_checksums_is_not_readable(
    share: float, films: dict[int, np.ndarray]
) -> None:
    encoded = cv2.imencode(".png", films[12])[1].tobytes()
    bodies = b"".join(
        encoded[m.end() : m.end() + int.from_bytes(encoded[m.start() - 4 : m.start()], "big")]
        for m in re.finditer(b"IDAT", encoded)
    )
    body = bodies[: int(share * len(bodies))]
    chunk = struct.pack(">I", len(body)) + b"IDAT" + body
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    assert refused(encoded[:33] + chunk + encoded[-12:]) == "NOT_READABLE"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.filterwarnings("ignore:End of file reached")
def test_an_object_cut_off_in_its_pixels_is_not_readable(
    syntax: str, share: float, films: dict[int, np.ndarray], make_dicom: MakeDicom
) -> None:
    encoded = make_dicom(films[12], syntax=syntax)
    assert refused(encoded[: 1500 + int(share * (len(encoded) - 1500))]) == "NOT_READABLE"
