"""The product beside the plain reference implementation of reference.py."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydicom.dataset import Dataset

from cxrexport.phantom import draw_phantom
from cxrexport.preprocessing import DecodedFilm, PreprocessingSpec, film_box, preprocess

PAPER = PreprocessingSpec()
SMALL = PreprocessingSpec(size_px=128)
# float32 holds 1/255 to seven digits.
A_GREY_LEVEL = 1.0001 / 255


def away(encoded: bytes, spec: PreprocessingSpec, reference: ModuleType) -> np.ndarray:
    """How far the product's image is from the reference's, pixel by pixel."""
    return np.abs(preprocess(encoded, spec).image[0] - reference.image_of(encoded, spec))


def curve(values: np.ndarray) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(values) % 65536, 0, 16]
    item.LUTData = values.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return [item]


@functools.cache
def phantom(seed: int) -> np.ndarray:
    """A drawn film, a border and letters included."""
    return draw_phantom(seed, True, 512).image


def drawn(rows: int, columns: int, bits: int, seed: int = 0) -> np.ndarray:
    """The same of any shape and depth."""
    film = cv2.resize(phantom(seed), (columns, rows), interpolation=cv2.INTER_AREA)
    stored = np.rint(film * ((1 << bits) - 1))
    return stored.astype(np.uint8 if bits == 8 else np.uint16)


SHAPES = {
    "square": (600, 600, 8), "odd": (641, 577, 12), "tall": (911, 300, 15), "wide": (260, 1023, 16),
    "three times too large": (1201, 1187, 12), "smaller than the square": (97, 90, 10),
}  # fmt: skip
CURVE = curve(65535 * np.linspace(0, 1, 4096) ** 0.5)
HEADERS: dict[str, dict[str, Any]] = {
    "no window": {},
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1"},
    "window": {"WindowCenter": 1700, "WindowWidth": 2100},
    "exact window, MONOCHROME1": {
        "WindowCenter": 1700.5, "WindowWidth": 2100.25, "VOILUTFunction": "LINEAR_EXACT",
        "PhotometricInterpretation": "MONOCHROME1",
    },
    "sigmoid": {"WindowCenter": 1700, "WindowWidth": 1100, "VOILUTFunction": "SIGMOID"},
    "falling rescale and window": {
        "RescaleSlope": -0.5, "RescaleIntercept": 2047.5, "WindowCenter": 900, "WindowWidth": 1500,
    },
    "VOI LUT": {"VOILUTSequence": CURVE},
    "modality LUT and window": {
        "ModalityLUTSequence": CURVE, "WindowCenter": 40000, "WindowWidth": 40000,
    },
    "padding": {"PixelPaddingValue": 0},
    "padding, MONOCHROME1": {
        "PixelPaddingValue": 0, "PixelPaddingRangeLimit": 60,
        "PhotometricInterpretation": "MONOCHROME1",
    },
    "padding within the film's values": {"PixelPaddingValue": 1500},
}  # fmt: skip


@pytest.mark.parametrize("clip_limit", [0.0, 2.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_and_depth_is_within_a_grey_level(
    shape: str, clip_limit: float, make_dicom: Callable[..., bytes], reference: ModuleType
) -> None:
    encoded = make_dicom(drawn(*SHAPES[shape]), BitsStored=SHAPES[shape][2])
    distance = away(encoded, replace(SMALL, clahe_clip_limit=clip_limit), reference)
    assert_close(distance, clip_limit)


@pytest.mark.parametrize("clip_limit", [0.0, 2.0])
@pytest.mark.parametrize("header", HEADERS)
def test_any_header_is_within_a_grey_level(
    header: str, clip_limit: float, make_dicom: Callable[..., bytes], reference: ModuleType
) -> None:
    encoded = make_dicom(drawn(643, 571, 12, seed=1), BitsStored=12, **HEADERS[header])
    distance = away(encoded, replace(SMALL, clahe_clip_limit=clip_limit), reference)
    assert_close(distance, clip_limit)


def assert_close(distance: np.ndarray, clip_limit: float) -> None:
    """A grey level; behind CLAHE, four in a few pixels.

    Both round to 8 bits before CLAHE. Where the 16-bit value lies on the edge between two grey
    levels to within float32, they may round to different ones, and CLAHE draws these apart.
    """
    if clip_limit == 0:
        assert distance.max() <= A_GREY_LEVEL
    else:
        assert (distance > A_GREY_LEVEL).mean() <= 2e-4
        assert distance.max() <= 4 * A_GREY_LEVEL


@pytest.mark.parametrize("tiles", [8, 7, 1])
@pytest.mark.parametrize("clip_limit", [0.5, 2.0, 40.0])
def test_clahe_of_the_same_grey_levels_is_within_a_grey_level_everywhere(
    clip_limit: float, tiles: int, make_dicom: Callable[..., bytes], reference: ModuleType
) -> None:
    encoded = make_dicom(drawn(700, 700, 12, seed=2), BitsStored=12)
    spec = replace(SMALL, size_px=256, clahe_clip_limit=clip_limit, clahe_tiles=tiles)
    before = preprocess(encoded, replace(spec, clahe_clip_limit=0)).image[0]
    expected = reference.clahe(np.rint(before * 255).astype(int), clip_limit, tiles) / 255
    after = preprocess(encoded, spec).image[0]
    place = np.ix_((after > 0).any(axis=1), (after > 0).any(axis=0))
    assert np.abs(after - expected)[place].max() <= A_GREY_LEVEL


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_film_is_within_a_grey_level_before_clahe(
    data: st.DataObject, make_dicom: Callable[..., bytes], reference: ModuleType
) -> None:
    bits = data.draw(st.sampled_from([8, 10, 12, 14, 15, 16]), "bits")
    top = (1 << bits) - 1
    shape = data.draw(st.tuples(st.integers(40, 700), st.integers(40, 700)), "shape")
    header: dict[str, Any] = {"BitsStored": bits}
    if data.draw(st.booleans(), "inverse"):
        header["PhotometricInterpretation"] = "MONOCHROME1"
    if data.draw(st.booleans(), "window"):
        header["WindowCenter"] = data.draw(st.integers(top // 4, top), "center")
        header["WindowWidth"] = data.draw(st.integers(top // 4, 2 * top), "width")
        header["VOILUTFunction"] = data.draw(st.sampled_from(["LINEAR", "LINEAR_EXACT"]))
    if data.draw(st.booleans(), "padding"):
        header["PixelPaddingValue"] = data.draw(st.sampled_from([0, top, top // 2]))
    encoded = make_dicom(drawn(*shape, bits, data.draw(st.integers(0, 9), "seed")), **header)
    size_px = data.draw(st.sampled_from([64, 96, 256]), "size")
    spec = PreprocessingSpec(size_px=size_px, clahe_clip_limit=0)
    assert away(encoded, spec, reference).max() <= A_GREY_LEVEL


@pytest.mark.parametrize("clip_limit", [0.0, 2.0])
def test_the_real_film_at_the_papers_size_is_within_a_grey_level(
    clip_limit: float, real_film: Callable[[str], bytes], reference: ModuleType
) -> None:
    spec = replace(PAPER, clahe_clip_limit=clip_limit)
    assert_close(away(real_film("RG1_UNCR.dcm"), spec, reference), clip_limit)


def test_the_reference_finds_the_border_that_was_drawn(reference: ModuleType) -> None:
    """It would say little of the product if it cropped nothing."""
    film = np.pad(drawn(600, 500, 12).astype(np.int64) + 400, ((40, 0), (0, 90)))
    left, top, width, height = reference.box_of(film, PAPER)
    assert (left, top) == (0, pytest.approx(40, abs=6))
    assert (width, height) == (pytest.approx(500, abs=6), pytest.approx(600, abs=6))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 300)] * 2, *[st.integers(2, 200)] * 2), max_size=5),
    st.sampled_from([(300, 300), (411, 257)]),
    st.floats(0.0, 0.1),
)  # fmt: skip
def test_borders_are_found_where_the_reference_finds_them(
    reference: ModuleType,
    fields: list[tuple[int, int, int, int]],
    shape: tuple[int, int],
    opening: float,
) -> None:
    """Parts apart, within one another, touching the edge, of letters' size: any picture."""
    film = np.zeros(shape, np.uint16)
    for number, (left, top, width, height) in enumerate(fields):
        bright = 0 if number % 3 == 2 else 30_000 + 5_000 * number
        film[top : top + height, left : left + width] = bright
    spec = replace(PAPER, crop_opening=opening, crop_min_side=0.1)
    assert film_box(DecodedFilm(film), spec) == reference.box_of(film, spec)
