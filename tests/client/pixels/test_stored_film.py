"""Brightness worked out where it is needed: the same numbers, and no copy of the film."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from cxrclient.errors import NotReadable
from cxrclient.pixels.decode import decode_stored
from cxrclient.pixels.film import LookUp, StoredFilm
from cxrexport.preprocessing import DecodedFilm, PreprocessingSpec, decode_film, preprocess_film
from cxrexport.preprocessing.normalise import preprocess
from cxrexport.preprocessing.percentiles import percentiles

SPEC = PreprocessingSpec(size_px=128)


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """12 bits, 1 MB: pydicom is asked to pass its value over."""
    return np.random.default_rng(2).integers(30, 4000, (700, 750)).astype(np.uint16)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_part_is_seen_as_in_the_whole(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([np.uint8, np.uint16]))
    stored = np.random.default_rng(1).integers(3, 200, (50, 40)).astype(kind)
    values = np.arange(201)
    low, span = data.draw(st.integers(0, 100)), data.draw(st.integers(1, 100))
    tables = [
        (np.clip(values, low, low + span) - low) * 7,
        900 - np.clip(values, low, 150),
        values**2,
    ]
    table = data.draw(st.sampled_from(tables)).astype(np.uint16)
    padding = values == data.draw(st.integers(0, 200))
    film = StoredFilm(stored, LookUp.of(table, int(stored.min())), padding)
    rows, columns = (
        slice(
            data.draw(st.integers(0, 10)),
            data.draw(st.integers(15, 60)),
            data.draw(st.integers(1, 4)),
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(film.brightness(rows, columns), table[stored][rows, columns])
    np.testing.assert_array_equal(film.padding_at(rows, columns), padding[stored][rows, columns])


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"WindowCenter": 1800, "WindowWidth": 1500},
        {"PixelPaddingValue": 2000},
        {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
    ],
)
def test_a_film_is_prepared_from_stored_values_as_from_its_brightness(
    header: dict[str, Any], make_dicom: Callable[..., bytes], large: np.ndarray
) -> None:
    encoded = make_dicom(large, BitsStored=12, **header)
    decoded = decode_film(encoded)
    again = DecodedFilm(decoded.pixels, decoded.padding, decoded.header_flags)
    np.testing.assert_array_equal(
        preprocess(encoded, SPEC).image, preprocess_film(again, SPEC).image
    )


def test_an_uncompressed_film_is_not_copied(
    make_dicom: Callable[..., bytes], large: np.ndarray
) -> None:
    encoded = make_dicom(large, BitsStored=12)
    assert np.shares_memory(decode_stored(encoded).stored, np.frombuffer(encoded, np.uint8))


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
    ],
)
def test_a_large_film_of_any_transfer_syntax_is_read_whole(
    syntax: str, preamble: bool, make_dicom: Callable[..., bytes], large: np.ndarray
) -> None:
    if syntax == RLELossless:
        dataset = dcmread(io.BytesIO(make_dicom(large, BitsStored=12)))
        dataset.compress(RLELossless, generate_instance_uid=False, encoding_plugin="pydicom")
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        encoded = buffer.getvalue()
    else:
        encoded = make_dicom(large, syntax=syntax, BitsStored=12)
    film = decode_stored(encoded if preamble else encoded[132:])
    np.testing.assert_array_equal(film.stored, large)


@pytest.mark.parametrize("missing", [1, 2, 1000, 600_000])
def test_a_large_film_that_is_cut_off_is_not_readable(
    missing: int, make_dicom: Callable[..., bytes], large: np.ndarray
) -> None:
    encoded = make_dicom(large, BitsStored=12)
    with pytest.raises(NotReadable, match="ends before its image"):
        decode_stored(encoded[:-missing])


def test_a_large_film_with_an_element_behind_it_is_read(
    make_dicom: Callable[..., bytes], large: np.ndarray
) -> None:
    encoded = make_dicom(large, BitsStored=12)
    behind = b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0" + bytes(8)  # (FFFC,FFFC) Data Set Trailing Padding
    np.testing.assert_array_equal(decode_stored(encoded + behind).stored, large)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 65535), min_size=1, max_size=200),
    st.floats(0, 100), st.floats(0, 100), st.integers(1, 4),
)  # fmt: skip
def test_percentiles_are_numpys_to_the_last_bit(
    values: list[int], low: float, high: float, repeated: int
) -> None:
    array = np.array(values * repeated, np.uint16)
    assert percentiles(array, low, high, 1.0, 99.5) == tuple(
        np.percentile(array, (low, high, 1.0, 99.5))
    )
