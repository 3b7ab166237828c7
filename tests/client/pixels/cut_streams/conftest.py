"""One film in every compressed encoding."""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames

from compressed_streams import GOLDEN, JPEG, STREAMS, MakeDicom, Stream, jpeg

Recompress = Callable[[bytes, str], bytes]


@pytest.fixture(scope="session")
def films(thorax: np.ndarray) -> dict[int, np.ndarray]:
    """One film in 8, 12 and 16 bits, with noise in all of them."""
    fine = np.random.default_rng(3).integers(0, 16, thorax.shape).astype(np.uint16)
    return {8: (thorax >> 4).astype(np.uint8), 12: thorax, 16: (thorax << 4) | fine}


@pytest.fixture(scope="session")
def streams(
    films: dict[int, np.ndarray], make_dicom: MakeDicom, recompress: Recompress
) -> dict[str, Stream]:
    found = {
        name: Stream(jpeg(films[8], *options), JPEG + "50", 8, films[8].shape)
        for name, options in {
            "baseline": (),
            "baseline, best tables": (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
            "baseline, restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
            "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        }.items()
    }
    small = (40, 32)
    extended = (GOLDEN / "extended_12bit.jpg").read_bytes()
    found["extended 12"] = Stream(extended, JPEG + "51", 12, small)
    high = (GOLDEN / "htj2k_lossless_12bit.j2c").read_bytes()
    found["HTJ2K 12"] = Stream(high, JPEG + "201", 12, small)

    def frame_of(encoded: bytes) -> bytes:
        frame = next(generate_frames(dcmread(io.BytesIO(encoded)).PixelData, number_of_frames=1))
        return bytes(frame)

    for bits, pixels in films.items():
        plain = make_dicom(pixels, BitsStored=bits)
        for name, syntax in {
            "lossless 57": JPEG + "57",
            "lossless 70": JPEG + "70",
            "JPEG-LS": JPEG + "80",
            "JPEG 2000": JPEG + "90",
            "RLE": "1.2.840.10008.1.2.5",
        }.items():
            frame = frame_of(recompress(plain, syntax))
            found[f"{name} {bits}"] = Stream(frame, syntax, bits, pixels.shape)
    plain = make_dicom(films[12], BitsStored=12)
    lossy = {
        "JPEG-LS near 12": ("81", {"jls_error": 2}),
        "JPEG 2000 lossy 12": ("91", {"j2k_cr": [20, 5]}),
    }
    for name, (number, options) in lossy.items():
        dataset, buffer = dcmread(io.BytesIO(plain)), io.BytesIO()
        dataset.compress(JPEG + number, generate_instance_uid=False, **options)
        dataset.save_as(buffer, enforce_file_format=True)
        found[name] = Stream(frame_of(buffer.getvalue()), JPEG + number, 12, films[12].shape)
    assert sorted(found) == sorted(STREAMS)
    return found
