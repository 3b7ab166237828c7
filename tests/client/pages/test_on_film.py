"""Mask, outlines, heatmap and overlay at the film's own size."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cxrclient.errors import UsageError
from cxrclient.pages import (
    film_heatmap,
    film_mask,
    film_overlay,
    lung_outlines,
    mask_png,
    render,
)
from cxrclient.pages.outlines import outlines, polygon_area
from cxrclient.wire import Prediction

# Height, width, and a crop that leaves out a part of the film and holds some of its surroundings.
GEOMETRY = np.array([500, 400, 7, 0, 20.5, 0, 7, 31], np.float32)


@pytest.fixture
def on_large_film(predicted) -> Callable[..., Prediction]:
    """A prediction of a film that is larger than the square; `(lungs=…)` changes what is named."""
    return lambda **changes: predicted(geometry=GEOMETRY, **changes)


def filled(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Whether each pixel's centre is in the polygons, by OpenCV, a hole being none of them."""
    mask, bits = np.zeros(shape, np.uint8), 8
    points = [np.rint(polygon * 2**bits).astype(np.int32) for polygon in polygons]
    cv2.fillPoly(mask, points, 1, lineType=cv2.LINE_8, shift=bits)
    return mask.astype(bool)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The share of what is in either that is in both."""
    return float((one & other).sum() / (one | other).sum())


def test_the_mask_is_the_one_that_is_written(on_large_film):
    mask = film_mask(on_large_film())
    assert (mask.shape, mask.dtype) == ((500, 400), bool)
    written = cv2.imdecode(np.frombuffer(mask_png(on_large_film()), np.uint8), -1)
    np.testing.assert_array_equal(mask, written == 255)


def test_the_outlines_hold_the_mask_and_nothing_else(on_large_film):
    prediction = on_large_film()
    rings, mask = lung_outlines(prediction), film_mask(prediction)
    assert len(rings) == 1
    assert overlap(filled(rings, mask.shape), mask) > 0.99
    assert polygon_area(rings[0]) == pytest.approx(mask.sum(), rel=0.01)


def two_lungs_one_with_a_hole() -> np.ndarray:
    rows, columns = np.mgrid[0:64, 0:64]
    distance = np.hypot(rows - 32, columns - 20)
    return ((distance > 6) & (distance < 14) | (columns > 50)).astype(np.float32)


def test_a_hole_of_a_map_goes_the_other_way_and_comes_after_what_it_is_in():
    lungs = two_lungs_one_with_a_hole()
    areas = [polygon_area(ring) for ring in outlines(lungs, 0.5)]
    assert [value > 0 for value in areas] == [True, True, False]
    assert sum(areas) == pytest.approx(lungs.sum(), rel=0.02)


def test_mask_outlines_and_overlay_have_no_hole(on_large_film):
    prediction = on_large_film(lungs=two_lungs_one_with_a_hole())
    mask, rings = film_mask(prediction), lung_outlines(prediction)
    assert [polygon_area(ring) > 0 for ring in rings] == [True, True]
    assert sum(map(polygon_area, rings)) == pytest.approx(mask.sum(), rel=0.02)
    assert mask[31 + 7 * 32, 20 + 7 * 20]
    edge = (np.asarray(film_overlay(prediction)) == render.CONTOUR_COLOUR).all(axis=2)
    np.testing.assert_array_equal(edge, render.contour(mask))


def test_a_bay_is_no_hole_and_neither_is_the_way_round_two_lungs(on_large_film):
    lungs = two_lungs_one_with_a_hole()
    lungs[28:36, :20] = 0
    prediction = on_large_film(lungs=lungs)
    whole = render.whole_lungs(prediction)
    np.testing.assert_array_equal(whole, lungs)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_holes_are_what_opencv_cannot_reach_from_the_border(seed, rows, columns):
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.6
    ground = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(ground, connectivity=4)
    expected = (labels != labels[0, 0]) & (ground == 1)
    np.testing.assert_array_equal(render.holes(mask), expected[1:-1, 1:-1])


def test_what_reaches_the_films_edge_ends_there(on_large_film):
    prediction = on_large_film(lungs=np.ones((64, 64), np.float32))
    (ring,) = lung_outlines(prediction)
    x, y = ring.T
    # The square begins half its pixel before the centre of its first, and ends beyond the film.
    assert (x.min(), y.min()) == (20.5 - 3.5, 31 - 3.5)
    assert (x.max(), y.max()) == (399.5, 31 + 7 * 63.5)
    assert polygon_area(ring) == pytest.approx(film_mask(prediction).sum(), rel=0.01)


def test_without_lungs_there_is_no_outline(on_large_film):
    assert lung_outlines(on_large_film(lungs=np.zeros((64, 64), np.float32))) == []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_outlines_of_any_map_hold_what_is_as_high(seed, rows, columns):
    values = np.random.default_rng(seed).choice([0, 0.2, 0.5, 0.8, 1], (rows, columns))
    rings = outlines(values, 0.5)
    assert sum(map(polygon_area, rings)) >= 0
    for ring in rings:
        assert (ring >= -0.5).all()
        assert (ring <= (columns - 0.5, rows - 0.5)).all()
    inside = filled_centres(rings, (rows, columns))
    np.testing.assert_array_equal(inside[values > 0.5], True)
    np.testing.assert_array_equal(inside[values < 0.5], False)


def filled_centres(rings: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Whether each pixel's centre is inside, by counting how often the rings go around it."""
    turns = np.zeros(shape)
    for (row, column), _ in np.ndenumerate(turns):
        for ring in rings:
            angles = np.arctan2(ring[:, 1] - row, ring[:, 0] - column)
            steps = np.diff(angles, append=angles[:1])
            turns[row, column] += ((steps + np.pi) % (2 * np.pi) - np.pi).sum() / (2 * np.pi)
    return turns > 0.5


def test_the_heatmap_lies_where_the_affine_puts_it(on_large_film):
    heat = film_heatmap(on_large_film(heatmap=np.array([[0, 1], [0, 0]], np.float32)))
    assert (heat.shape, heat.dtype) == ((500, 400), np.float32)
    assert heat[31 + 7 * 16, 20 + 7 * 48] == pytest.approx(1, abs=0.05)
    assert heat[400, 100] == 0
    assert heat[5].max() == heat[:, 5].max() == 0  # the networks did not see it
    assert heat.max() <= 1


def test_the_overlay_has_the_films_size_its_pixels_and_the_outline(on_large_film):
    prediction = on_large_film()
    film = np.linspace(-100, 900, 500 * 400).reshape(500, 400)
    picture = np.asarray(film_overlay(prediction, film))
    assert picture.shape == (500, 400, 3)
    assert tuple(picture[0, 0]) == (0, 0, 0)
    assert tuple(picture[499, 399]) == (255, 255, 255)
    edge = (picture == render.CONTOUR_COLOUR).all(axis=2)
    np.testing.assert_array_equal(edge, render.contour(film_mask(prediction)))
    hot, cold = picture[31 + 7 * 16, 20 + 7 * 54], picture[480, 200]
    assert hot[0] > hot[2] + 30
    assert cold[0] == cold[2]


def test_the_overlay_shows_what_the_networks_saw_where_nothing_else_is_given(on_large_film):
    prediction = on_large_film(heatmap=np.zeros((2, 2), np.float32))
    picture = np.asarray(film_overlay(prediction))
    assert picture[5].max() == 0
    row = picture[470, 24:390, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[-1] > 200


def test_the_overlay_carries_its_caption_below(on_large_film):
    image = film_overlay(on_large_film(), text="Research use only.")
    assert image.width == 400
    assert image.height > 500 + 10


def test_below_it_the_colours_of_the_heat_go_from_none_to_most(on_large_film):
    from cxrclient.pages.render import colour_bar

    framed = np.asarray(film_overlay(on_large_film(), text="Research use only."))[500:].astype(int)
    middle = framed[framed.shape[0] // 4]
    first, last = (
        np.nonzero(np.abs(middle - colour_bar(300, 1)[0, end]).sum(axis=1) < 6)[0]
        for end in (0, -1)
    )
    assert len(first)
    assert len(last)
    assert first.min() < 100 < 300 < last.max()


def test_the_overlay_wants_pixels_of_the_same_film(on_large_film):
    with pytest.raises(UsageError, match=r"film is \[400, 500\].*\[500, 400\] \(rows, columns\)"):
        film_overlay(on_large_film(), np.zeros((400, 500)))


@pytest.mark.parametrize("function", [film_mask, film_heatmap, film_overlay, lung_outlines])
def test_a_prediction_without_maps_says_how_to_get_them(function, predicted):
    with pytest.raises(UsageError, match="maps=True"):
        function(predicted(lungs=None, heatmap=None))
