"""What is odd and whole in a JPEG is read, and cut it is not."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from compressed_streams import END, JPEG, MakeDicom, Stream, jpeg, refused
from cxrclient.errors import NotReadable
from cxrexport.preprocessing import decode_film


def behind_the_start(encoded: bytes, segment: bytes) -> bytes:
    return encoded[:2] + segment + encoded[2:]


def progressive_header(encoded: bytes) -> bytes:
    """The first coefficient only, in a baseline scan."""
    data = encoded.index(b"\xff\xda")
    data += 2 + int.from_bytes(encoded[data + 2 : data + 4], "big")
    return encoded[: data - 3] + bytes(3) + encoded[data:]


ODDITIES: dict[str, Callable[[bytes], bytes]] = {
    "padding behind the end marker": lambda e: e + bytes(99),
    "fill bytes in front of it": lambda e: e[:-2] + b"\xff" * 5 + END,
    "zeros in front of it": lambda e: e[:-2] + bytes(3) + END,
    "many zeros in front of it": lambda e: e[:-2] + bytes(4000) + END,
    "a JFIF of another version": lambda e: e.replace(b"JFIF\0\1", b"JFIF\0\2", 1),
    "half a colour profile": lambda e: behind_the_start(e, b"\xff\xe2\0\x14ICC_PROFILE\0\2\2abcd"),
    "an unknown Adobe transform": lambda e: behind_the_start(
        e, b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\7"
    ),
    "a scan that says what only progressive ones say": lambda e: progressive_header(e),
}


@pytest.mark.parametrize(("form", "channels"), [("file", 1), ("file", 3), ("DICOM", 1)])
@pytest.mark.parametrize("oddity", ODDITIES)
def test_a_whole_jpeg_with_an_oddity_is_the_film_and_a_cut_one_is_not(
    oddity: str,
    form: str,
    channels: int,
    films: dict[int, np.ndarray],
    make_dicom: MakeDicom,
) -> None:
    """libjpeg says its first remark only: an oddity must not hide the cut behind it."""
    plain = jpeg(cv2.merge([films[8]] * channels))
    whole = Stream(plain, JPEG + "50", 8, films[8].shape)

    def film(encoded: bytes) -> bytes:
        return encoded if form == "file" else whole.in_dicom(make_dicom, encoded)

    def odd(encoded: bytes) -> bytes:
        made = ODDITIES[oddity](encoded)
        assert made != encoded
        return film(made)

    np.testing.assert_array_equal(decode_film(odd(plain)).pixels, decode_film(film(plain)).pixels)
    for share in (0.3, 0.99):
        assert refused(odd(whole.cut(share))) == "NOT_READABLE"


def in_three_scans(grey: bytes, factors: int) -> bytes:
    """A grey baseline JPEG as luminance of any sampling beside two components of no colour.

    A scan of one component is the same whatever its sampling, and the blocks of no colour are a
    DC difference of none (00) and an end of block (1010) each. Source: ITU-T T.81, A.2.2 and K.3.
    """
    frame, scan = grey.index(b"\xff\xc0"), grey.index(b"\xff\xda")
    rows, columns = struct.unpack_from(">HH", grey, frame + 5)
    data = grey[scan + 10 : grey.rindex(END)]
    across, down = math.ceil(columns / (factors >> 4)), math.ceil(rows / (factors & 15))
    blocks = math.ceil(across / 8) * math.ceil(down / 8)
    bits = "001010" * blocks
    bits += "1" * (-len(bits) % 8)
    none = int(bits, 2).to_bytes(len(bits) // 8, "big")
    components = bytes([1, factors, 0, 2, 0x11, 0, 3, 0x11, 0])
    header = struct.pack(">HHBHHB", 0xFFC0, 17, 8, rows, columns, 3) + components
    scans = [
        b"\xff\xda\0\x08\1" + bytes([n, 0, 0, 63, 0]) + part
        for n, part in ((1, data), (2, none), (3, none))
    ]
    return grey[:frame] + header + grey[frame + 13 : scan] + b"".join(scans) + END


@pytest.mark.parametrize("factors", [0x31, 0x42, 0x13, 0x22, 0x11])
def test_whatever_its_sampling_a_whole_jpeg_is_read_and_a_cut_one_is_not(
    factors: int, films: dict[int, np.ndarray]
) -> None:
    """TurboJPEG has no name for 3x1, 4x2 and 1x3, and decodes none of them."""
    plain = jpeg(films[8])
    encoded = in_three_scans(plain, factors)
    np.testing.assert_array_equal(decode_film(encoded).pixels, decode_film(plain).pixels)
    second = encoded.index(b"\xff\xda\0\x08\1\2")
    for lacking in (1, 9, 4000):
        assert refused(encoded[: second - lacking] + encoded[second:]) == "NOT_READABLE"


@pytest.mark.parametrize("arithmetic", [0xC9, 0xCA])
def test_arithmetic_coding_is_refused_because_its_end_cannot_be_checked(
    arithmetic: int, films: dict[int, np.ndarray]
) -> None:
    encoded = bytearray(jpeg(films[8]))
    encoded[encoded.index(b"\xff\xc0") + 1] = arithmetic
    with pytest.raises(NotReadable, match="arithmetic"):
        decode_film(bytes(encoded))


def test_a_stream_without_end_marker_is_not_readable(streams: dict[str, Stream]) -> None:
    assert refused(streams["baseline"].encoded[:-2]) == "NOT_READABLE"


def scans_of(encoded: bytes) -> tuple[bytes, list[bytes]]:
    """A JPEG's head, and its scans with the tables in front of each."""
    starts = [m.start() for m in re.finditer(b"\xff\xda", encoded)]
    head = encoded.index(b"\xff\xc4")
    ends = [
        starts[n] + 2 + re.search(rb"\xff[\x80-\xcf\xd8-\xfe]", encoded[starts[n] + 2 :]).start()  # type: ignore[union-attr]
        for n in range(len(starts))
    ]
    return encoded[:head], [encoded[a:b] for a, b in zip([head, *ends[:-1]], ends, strict=True)]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_progressive_jpeg_lacks_no_scan(channels: int, films: dict[int, np.ndarray]) -> None:
    """Each scan is whole, and so no decoder says a word."""
    image = cv2.merge([films[8]] * channels)
    head, scans = scans_of(jpeg(image, cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    assert len(scans) > 5
    assert refused(head + b"".join(scans) + END) == "ok"
    for n in range(1, len(scans)):
        assert refused(head + b"".join(scans[:n]) + END) == "NOT_READABLE", n
