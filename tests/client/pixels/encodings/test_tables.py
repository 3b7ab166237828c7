"""Look-up tables and windows, however their writer put them down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from cxrclient.errors import NotReadable
from cxrexport.preprocessing import decode_film
from encoded_films import (
    MakeDicom,
    big_endian,
    decoded,
    drawn,
    implicit,
    levels,
    spread,
)

RISING = (65535 * np.linspace(0, 1, 4096) ** 0.5).astype(np.uint16)


def item(data: Any, vr: str, entries: int, first: int, bits: int, first_vr: str = "US") -> Dataset:
    lut = Dataset()
    lut.add_new(0x00283002, first_vr, [entries % 65536, first, bits])
    lut.add_new(0x00283006, vr, data)
    return lut


@pytest.mark.parametrize("form", [lambda e: e, implicit, big_endian], ids=["<", "implicit", ">"])
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("kind", ["words as bytes", "words as numbers", "packed", "packed numbers"])
def test_a_table_is_read_however_its_entries_are_written(
    kind: str, sequence: str, form: Callable[[bytes], bytes], make_dicom: MakeDicom
) -> None:
    values = drawn(12)
    short = (RISING >> 8).astype(np.uint8)
    lut = {
        "words as bytes": item(RISING.tobytes(), "OW", 4096, 0, 16),
        "words as numbers": item(RISING.tolist(), "US", 4096, 0, 16),
        "packed": item(short.tobytes(), "OW", 4096, 0, 8),
        "packed numbers": item(short.view("<u2").tolist(), "US", 4096, 0, 8),
    }[kind]
    film = decoded(form(make_dicom(values, BitsStored=12, **{sequence: [lut]})))
    expected = (short if kind.startswith("packed") else RISING)[values]
    np.testing.assert_allclose(levels(film), spread(expected), atol=2e-5)


@pytest.mark.parametrize("form", [lambda e: e, implicit, big_endian], ids=["<", "implicit", ">"])
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_a_table_of_signed_values_starts_below_zero(
    sequence: str, form: Callable[[bytes], bytes], make_dicom: MakeDicom
) -> None:
    values = drawn(12, signed=True)
    lut = item(RISING.tobytes(), "OW", 4096, -2048, 16, first_vr="SS")
    film = decoded(form(make_dicom(values, BitsStored=12, **{sequence: [lut]})))
    np.testing.assert_allclose(levels(film), spread(RISING[values + 2048]), atol=2e-5)


def test_a_first_value_below_zero_is_known_where_its_writer_called_it_unsigned(
    make_dicom: MakeDicom,
) -> None:
    """Rescaled values reach below zero although the stored ones do not."""
    values = drawn(12)
    lut = item(RISING.tobytes(), "OW", 4096, 65536 - 1024, 16)
    header = {"RescaleSlope": 1, "RescaleIntercept": -1024, "VOILUTSequence": [lut]}
    film = decoded(make_dicom(values, BitsStored=12, **header))
    np.testing.assert_allclose(levels(film), spread(RISING[values]), atol=2e-5)


def test_a_table_of_65536_entries_says_zero(make_dicom: MakeDicom) -> None:
    values, table = drawn(16), (65535 * np.linspace(0, 1, 65536) ** 2).astype(np.uint16)
    lut = item(table.tobytes(), "OW", 65536, 0, 16)
    film = decoded(make_dicom(values, VOILUTSequence=[lut]))
    np.testing.assert_allclose(levels(film), spread(table[values]), atol=2e-5)


def test_of_several_tables_and_windows_the_first_counts(make_dicom: MakeDicom) -> None:
    values = drawn(12)
    luts = [item(t.tobytes(), "OW", 4096, 0, 16) for t in (RISING, RISING[::-1].copy())]
    film = decoded(make_dicom(values, BitsStored=12, VOILUTSequence=luts))
    np.testing.assert_allclose(levels(film), spread(RISING[values]), atol=2e-5)
    windows = {"WindowCenter": [1500, 40], "WindowWidth": [3000, 400]}
    one = {"WindowCenter": 1500, "WindowWidth": 3000}
    np.testing.assert_array_equal(
        decoded(make_dicom(values, BitsStored=12, **windows)).pixels,
        decoded(make_dicom(values, BitsStored=12, **one)).pixels,
    )


@pytest.mark.parametrize("data", [b"\x01", b"", [1, 2, 3]])
def test_a_table_with_too_few_entries_is_not_readable(data: Any, make_dicom: MakeDicom) -> None:
    lut = item(data, "OW" if isinstance(data, bytes) else "US", 4096, 0, 16)
    with pytest.raises(NotReadable, match="look-up table"):
        decode_film(make_dicom(drawn(12), BitsStored=12, VOILUTSequence=[lut]))


def test_an_unknown_voi_function_is_linear(make_dicom: MakeDicom) -> None:
    """PS3.3 C.11.2.1.3: without the attribute, and so without a word that is known, LINEAR."""
    window = {"WindowCenter": 900, "WindowWidth": 301, "BitsStored": 12}
    film = decode_film(make_dicom(drawn(12), **window, VOILUTFunction="FANCY"))
    plain = decode_film(make_dicom(drawn(12), **window))
    np.testing.assert_array_equal(film.pixels, plain.pixels)
