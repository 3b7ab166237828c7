"""High bits, and what lies in a word beside the samples."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from cxrexport.preprocessing import decode_film
from encoded_films import (
    MakeDicom,
    decoded,
    drawn,
    written,
)


@pytest.mark.parametrize(
    "syntax", [None, RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless]
)
@pytest.mark.parametrize("low_bit", [0, 2, 4])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_beside_the_samples_are_never_drawn(
    signed: bool,
    low_bit: int,
    syntax: str | None,
    make_dicom: MakeDicom,
    recompress: Callable[[bytes, str], bytes],
) -> None:
    """An old overlay in unused bits; the stream has whole words, as its precision says."""
    values = drawn(12, signed)
    used = 0x0FFF << low_bit
    noise = np.random.default_rng(1).integers(0, 1 << 16, values.shape)
    words = ((values.astype(int) << low_bit) & used | noise & ~used & 0xFFFF).astype(np.uint16)
    encoded = make_dicom(words)
    if syntax:
        encoded = recompress(encoded, str(syntax))
    dataset = dcmread(io.BytesIO(encoded))
    dataset.BitsStored, dataset.HighBit = 12, 11 + low_bit
    dataset.PixelRepresentation = int(signed)
    film = decoded(written(dataset, dataset.file_meta.TransferSyntaxUID))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_high_bit_of_before_compression_does_not_shift_what_the_stream_holds(
    syntax: str, make_dicom: MakeDicom, recompress: Callable[[bytes, str], bytes]
) -> None:
    values = drawn(12)
    plain = make_dicom(values, BitsStored=12)
    dataset = dcmread(io.BytesIO(recompress(plain, str(syntax))))
    dataset.HighBit = 15
    film = decoded(written(dataset, syntax))
    np.testing.assert_array_equal(film.pixels, decode_film(plain).pixels)
