"""Look-up tables, polarity and padding: what a reader sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from cxrclient.pixels.film import LookUp
from cxrexport.preprocessing import decode_film, preprocess
from shown_levels import SPEC, as_pydicom_sees_it, levels


def lut(entries: np.ndarray, first: int, bits: int) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTData = entries.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return [item]


RISING = (65535 * np.linspace(0, 1, 4096) ** 0.5).astype(np.uint16)

HEADERS: dict[str, dict[str, Any]] = {
    "no window": {},
    "window": {"WindowCenter": 1800, "WindowWidth": 2000},
    "several windows": {"WindowCenter": [1500, 40], "WindowWidth": [3000, 400]},
    "exact window": {"WindowCenter": 1800, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
    "rescale": {"RescaleSlope": 0.5, "RescaleIntercept": -300},
    "rescale and window": {
        "RescaleSlope": "0.5", "RescaleIntercept": "-300", "WindowCenter": 600, "WindowWidth": 900,
    },
    "modality LUT": {"ModalityLUTSequence": lut(RISING, 0, 16)},
    "modality LUT and window": {
        "ModalityLUTSequence": lut(RISING, 0, 16), "WindowCenter": 40000, "WindowWidth": 30000,
    },
    "VOI LUT": {"VOILUTSequence": lut(RISING, 0, 16)},
    "VOI LUT with an offset": {"VOILUTSequence": lut(RISING[:2000], 900, 16)},
    "VOI LUT before window": {
        "VOILUTSequence": lut(RISING, 0, 16), "WindowCenter": 100, "WindowWidth": 100,
    },
    "MONOCHROME1 and window": {
        "PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 1800, "WindowWidth": 2000,
    },
    "implicit little endian": {"syntax": ImplicitVRLittleEndian},
    "big endian": {"syntax": ExplicitVRBigEndian},
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_a_film_looks_as_pydicom_shows_it(
    name: str, make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    encoded = make_dicom(thorax, BitsStored=12, **HEADERS[name])
    # Our windows end at whole stored values: half of one of at least 900, twice.
    np.testing.assert_allclose(levels(encoded), as_pydicom_sees_it(encoded), atol=1.2e-3)


def test_a_falling_rescale_turns_the_film(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    """PS3.3 C.11.2: small modality values are dark. (pydicom turns them back: not compared.)"""
    falling = make_dicom(4095 - thorax, BitsStored=12, RescaleSlope=-1, RescaleIntercept=4095,
                         WindowCenter=2200, WindowWidth=2500)  # fmt: skip
    plain = make_dicom(thorax, BitsStored=12, WindowCenter=2200, WindowWidth=2500)
    np.testing.assert_allclose(levels(falling), levels(plain), atol=1e-3)


def test_eight_bit_entries_serve_a_table_of_more_than_256(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    entries = (RISING >> 8).astype(np.uint16)
    encoded = make_dicom(thorax, BitsStored=12, VOILUTSequence=lut(entries, 0, 8))
    expected = entries[thorax].astype(float)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(levels(encoded), expected, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_monochrome1_is_inverted_monochrome2_exactly(
    data: st.DataObject, make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    bits = data.draw(st.sampled_from([8, 10, 12, 14, 16]))
    top = (1 << bits) - 1
    film = (thorax.astype(np.int64) * top // 4095).astype(np.uint8 if bits == 8 else np.uint16)
    header, mirrored = {}, {}
    if data.draw(st.booleans()):
        width = data.draw(st.integers(top // 4, 2 * top))
        # LINEAR is centred half a value low (PS3.3 C.11.2.1.2.1), so its mirror image is not
        # LINEAR; LINEAR_EXACT has a mirror image.
        center = data.draw(st.integers(top // 4, top))
        header = {"WindowCenter": center, "WindowWidth": width, "VOILUTFunction": "LINEAR_EXACT"}
        mirrored = {**header, "WindowCenter": top - center}
    straight = make_dicom(film, BitsStored=bits, **header)
    inverted = make_dicom(
        (top - film).astype(film.dtype),
        BitsStored=bits,
        PhotometricInterpretation="MONOCHROME1",
        **mirrored,
    )
    np.testing.assert_array_equal(decode_film(straight).pixels, decode_film(inverted).pixels)
    np.testing.assert_array_equal(
        preprocess(straight, SPEC).image, preprocess(inverted, SPEC).image
    )


@pytest.mark.parametrize(
    "header",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ],
)
def test_polarity_is_turned_once_however_often_it_is_said(
    header: dict[str, str], make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    film = decode_film(make_dicom(thorax, BitsStored=12, **header))
    np.testing.assert_array_equal(np.argsort(film.pixels[200]), np.argsort(
        decode_film(make_dicom(4095 - thorax, BitsStored=12)).pixels[200]
    ))  # fmt: skip
    assert "POLARITY_TURNED" in film.header_flags


def test_brighter_pixels_never_become_darker(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    film = decode_film(make_dicom(thorax, BitsStored=12, WindowCenter=1800, WindowWidth=2000))
    order = np.argsort(thorax, axis=None)
    assert (np.diff(film.pixels.ravel()[order].astype(int)) >= 0).all()


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 3000), st.integers(1, 3000), st.integers(1, 20), st.booleans(),
    st.integers(0, 99),
)  # fmt: skip
def test_the_short_cut_for_ramps_gives_the_numbers_of_the_table(
    low: int, span: int, gain: int, falling: bool, seed: int
) -> None:
    values = np.arange(6001)
    table = ((np.clip(values, low, low + span) - low) * gain).astype(np.uint16)
    if falling:
        table = (table.max() - table + 7).astype(np.uint16)
    pixels = np.random.default_rng(seed).integers(0, 6001, (40, 50)).astype(np.uint16)
    np.testing.assert_array_equal(LookUp.of(table)(pixels), table[pixels])


def test_a_bent_table_is_looked_up() -> None:
    table = np.array([5, 0, 9, 9, 300], np.uint16)
    pixels = np.array([[4, 3], [2, 1]], np.uint8)
    np.testing.assert_array_equal(LookUp.of(table)(pixels), table[pixels])


def test_signed_pixels_keep_their_order(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    signed = thorax.astype(np.int16) - 2000
    np.testing.assert_array_equal(
        decode_film(make_dicom(signed)).pixels, decode_film(make_dicom(thorax)).pixels
    )


def test_bits_above_the_high_bit_are_not_part_of_the_film(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    overlay = thorax | np.where(np.arange(thorax.shape[1]) % 9 == 0, 0x8000, 0).astype(np.uint16)
    np.testing.assert_array_equal(
        decode_film(make_dicom(overlay, BitsStored=12)).pixels,
        decode_film(make_dicom(thorax, BitsStored=12)).pixels,
    )


def test_a_high_bit_at_the_top_shifts_the_values(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    shifted = make_dicom((thorax << 4).astype(np.uint16), BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(
        decode_film(shifted).pixels, decode_film(make_dicom(thorax, BitsStored=12)).pixels
    )


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_stays_out_of_the_percentiles(
    photometric: str, make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    def film(padding: int) -> bytes:
        pixels = thorax.copy()
        pixels[:, :15] = padding
        return make_dicom(pixels, PhotometricInterpretation=photometric, PixelPaddingValue=padding)

    low, high = film(0), film(65535)
    decoded = decode_film(low)
    assert decoded.padding is not None
    assert decoded.padding[:, :15].all()
    assert decoded.padding.sum() == 15 * thorax.shape[0]
    assert (decoded.pixels[:, :15] == 0).all()
    # Neither value may matter, however far it lies from the film's own.
    np.testing.assert_array_equal(preprocess(low, SPEC).image, preprocess(high, SPEC).image)


def test_a_range_of_padding_is_padding(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    pixels = thorax.copy()
    pixels[:20] = np.arange(thorax.shape[1]) % 3
    encoded = make_dicom(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=2)
    padding = decode_film(encoded).padding
    assert padding is not None
    assert padding[:20].all()


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 60_000, "WindowWidth": 100},
        {"WindowCenter": 2000, "WindowWidth": 0},
        {"WindowCenter": -5000, "WindowWidth": 10},
    ],
)
def test_a_window_that_shows_nothing_is_passed_over(
    window: dict[str, int], make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    film = decode_film(make_dicom(thorax, **window))
    np.testing.assert_array_equal(film.pixels, decode_film(make_dicom(thorax)).pixels)
    assert "WINDOW_UNUSABLE" in film.header_flags
