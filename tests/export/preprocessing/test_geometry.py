from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cxrexport.preprocessing import (
    DecodedFilm,
    Geometry,
    PreprocessingSpec,
    film_box,
    preprocess_film,
)

sizes = st.integers(120, 900)
borders = st.tuples(*[st.integers(0, 60)] * 4)


def framed_film(height: int, width: int, border: tuple[int, ...], seed: int) -> DecodedFilm:
    """A bright noisy field within a black border of (left, top, right, bottom) pixels."""
    rng = np.random.default_rng(seed)
    film = rng.integers(20_000, 50_000, (height, width)).astype(np.uint16)
    left, top, right, bottom = border
    return DecodedFilm(cv2.copyMakeBorder(film, top, bottom, left, right, cv2.BORDER_CONSTANT))


def lungs(shape: tuple[int, int], border: tuple[int, ...]) -> np.ndarray:
    """Two ellipses within the field."""
    left, top, right, bottom = border
    height, width = shape[0] - top - bottom, shape[1] - left - right
    mask = np.zeros(shape, np.uint8)
    for share in (0.3, 0.7):
        centre = (round(left + share * width), round(top + 0.5 * height))
        cv2.ellipse(mask, centre, (round(width * 0.16), round(height * 0.35)), 5, 0, 360, 1, -1)
    return mask.astype(bool)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, borders, st.sampled_from([256, 320, 512]), st.integers(0, 99))
def test_a_mask_survives_the_way_to_the_network_and_back(
    height: int, width: int, border: tuple[int, ...], size_px: int, seed: int
) -> None:
    film = framed_film(height, width, border, seed)
    geometry = preprocess_film(film, PreprocessingSpec(size_px=size_px)).geometry
    mask = lungs(film.pixels.shape, border)
    back = geometry.to_film(geometry.to_network(mask)) > 0.5
    assert back.shape == film.pixels.shape
    assert dice(mask, back) >= 0.98


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, borders, st.sampled_from([64, 320]))
def test_the_affine_survives_the_tensor(
    height: int, width: int, border: tuple[int, ...], size_px: int
) -> None:
    film = framed_film(height, width, border, 0)
    geometry = preprocess_film(film, PreprocessingSpec(size_px=size_px)).geometry
    tensor = geometry.to_array()
    assert tensor.dtype == np.float32
    assert tuple(tensor[:2]) == (geometry.film_height, geometry.film_width)
    np.testing.assert_allclose(tensor[2:].reshape(2, 3), geometry.affine, rtol=1e-6, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(80, 2500), st.integers(80, 2500), st.sampled_from([64, 256]))
def test_a_mask_goes_where_its_film_went(height: int, width: int, size_px: int) -> None:
    """The film itself, carried as a mask, is the image before CLAHE up to rounding."""
    rows, columns = np.mgrid[0:height, 0:width]
    wave = np.sin(rows * 9 / height) * np.cos(columns * 7 / width)
    film = DecodedFilm((30_000 + 20_000 * wave).astype(np.uint16))
    spec = PreprocessingSpec(
        size_px=size_px, clahe_clip_limit=0, percentile_low=0, percentile_high=100,
        percentile_grid=4096,
    )  # fmt: skip
    result = preprocess_film(film, spec)
    level = film.pixels.astype(np.float32)
    level = (level - level.min()) / (level.max() - level.min())
    carried = result.geometry.to_network(level)
    # Less than one block of film pixels may be left out at the right and at the bottom.
    shown = result.image[0] > 0
    rows_shown, columns_shown = shown.any(axis=1), shown.any(axis=0)
    away = np.abs(carried - result.image[0])[rows_shown][:, columns_shown]
    assert min(rows_shown.mean(), columns_shown.mean()) > 0.02
    assert away.max() < 0.02


def test_a_point_lands_where_the_affine_says() -> None:
    film = framed_film(400, 300, (50, 20, 10, 0), 1)
    geometry = preprocess_film(film, PreprocessingSpec(size_px=128)).geometry
    spot = np.zeros((128, 128), np.float32)
    spot[70, 40] = 1
    on_film = geometry.to_film(spot)
    row, column = np.average(
        np.stack(np.nonzero(on_film)), axis=1, weights=on_film[np.nonzero(on_film)]
    )
    x, y = geometry.affine @ (40, 70, 1)
    assert (column, row) == pytest.approx((x, y), abs=0.05)


def test_a_coarse_heatmap_covers_the_whole_square() -> None:
    geometry = Geometry(640, 640, 320, np.array([[2, 0, 0.5], [0, 2, 0.5]]))
    heat = np.arange(100, dtype=np.float32).reshape(10, 10)
    on_film = geometry.to_film(heat)
    assert on_film.shape == (640, 640)
    # 640 film pixels over 10 cells: the centre of cell i lies at 64 i + 31.5.
    # The outermost cells are held constant from their centre to the edge.
    centres = np.arange(1, 9) * 64 + 31
    expected = (on_film[centres][:, centres] + on_film[centres + 1][:, centres + 1]) / 2
    np.testing.assert_allclose(expected, heat[1:9, 1:9], atol=1e-3)


def test_a_heatmap_is_smooth_however_far_it_is_stretched() -> None:
    geometry = Geometry(1, 3200, 32, np.array([[100, 0, 49.5], [0, 1, 0]]))
    ramp = np.linspace(0, 1, 2, dtype=np.float32)[None].repeat(32, 0)
    steps = np.diff(geometry.to_film(ramp)[0, 1000:2000])
    assert steps.max() < 2 * steps.mean()


def test_the_film_outside_the_square_gets_nothing() -> None:
    geometry = Geometry(100, 200, 64, np.array([[1, 0, 50], [0, 1, 10]]))
    on_film = geometry.to_film(np.ones((64, 64), np.float32))
    expected = np.zeros((100, 200), np.float32)
    expected[10:74, 50:114] = 1
    np.testing.assert_array_equal(on_film, expected)


def test_the_square_outside_the_film_gets_nothing() -> None:
    geometry = Geometry(100, 50, 128, np.array([[1, 0, -39], [0, 1, -14]]))
    on_square = geometry.to_network(np.ones((100, 50)))
    expected = np.zeros((128, 128), np.float32)
    expected[14:114, 39:89] = 1
    np.testing.assert_array_equal(on_square, expected)


@pytest.mark.parametrize(
    "affine",
    [
        [[1, 0.1, 0], [0, 1, 0]],
        [[0, 0, 0], [0, 1, 0]],
        [[1, 0, 0], [0, -1, 0]],
        [[1, 0, np.nan], [0, 1, 0]],
        [[1, 0], [0, 1]],
    ],
)
def test_an_affine_that_is_no_scaling_is_refused(affine: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="geometry"):
        Geometry(10, 10, 32, np.array(affine))


def test_a_mask_of_another_size_is_refused() -> None:
    geometry = Geometry(10, 20, 32, np.array([[1.0, 0, 0], [0, 1, 0]]))
    with pytest.raises(ValueError, match="mask of 10x20 pixels for a film of 20x10"):
        geometry.to_network(np.zeros((20, 10)))


@settings(max_examples=40, deadline=None)
@given(st.integers(200, 700), st.integers(200, 700), borders, st.integers(0, 9))
def test_no_bright_field_is_ever_cut(
    height: int, width: int, border: tuple[int, ...], seed: int
) -> None:
    film = framed_film(height, width, border, seed)
    x, y, w, h = film_box(film, PreprocessingSpec())
    left, top, _, _ = border
    assert x <= left
    assert y <= top
    assert x + w >= left + width
    assert y + h >= top + height
