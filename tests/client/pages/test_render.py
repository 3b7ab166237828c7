"""Masks and overlays: the right pixels, at the right place."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from cxrclient.errors import UsageError
from cxrclient.films.geometry import lung_fraction, sampled_on_film
from cxrclient.pages import render
from cxrclient.wire.prediction import EnsembleInfo, ModelInfo, Prediction

SIZE = 64


def geometry_of(height, width, crop=(0, 0), size=SIZE):
    """The square holds the whole film from `crop` on, centred, aspect kept."""
    top, left = crop
    scale = max(height - top, width - left) / size
    # Corner to corner: film = scale · (network + 1/2) − 1/2, shifted by the padding.
    x = left - ((size * scale - (width - left)) / 2) + scale / 2 - 0.5
    y = top - ((size * scale - (height - top)) / 2) + scale / 2 - 0.5
    return np.array([height, width, scale, 0, x, 0, scale, y], dtype=np.float32)


def bilinear(values, geometry, size):
    """Each film pixel by itself, as the contract of GEOMETRY says it; slow and plain."""
    height, width, a, b, c, d, e, f = (float(v) for v in geometry)
    inverse = np.linalg.inv([[a, b], [d, e]])
    rows, columns = values.shape
    film = np.zeros((int(height), int(width)))
    for y in range(int(height)):
        for x in range(int(width)):
            u, v = inverse @ (x - c, y - f)
            if not (-0.5 <= u < size - 0.5 and -0.5 <= v < size - 0.5):
                continue
            u = np.clip((u + 0.5) * columns / size - 0.5, 0, columns - 1)
            v = np.clip((v + 0.5) * rows / size - 0.5, 0, rows - 1)
            i, j = min(int(v), rows - 1), min(int(u), columns - 1)
            k, m = min(i + 1, rows - 1), min(j + 1, columns - 1)
            upper = values[i, j] * (1 - u + j) + values[i, m] * (u - j)
            lower = values[k, j] * (1 - u + j) + values[k, m] * (u - j)
            film[y, x] = upper * (1 - v + i) + lower * (v - i)
    return film


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    rows=st.sampled_from([2, 7, 64]),
    scale=st.floats(0.3, 3),
    aspect=st.floats(0.7, 1.4),
    shift=st.floats(-9.3, 9.3),
)
def test_a_map_lands_where_the_affine_puts_it(seed, rows, scale, aspect, shift):
    values = np.random.default_rng(seed).random((rows, rows + 3)).astype(np.float32)
    affine = [scale, 0.0, shift, 0.0, scale * aspect, 2 * shift]
    geometry = np.array([41, 37, *affine], dtype=np.float32)
    ours = sampled_on_film(values, geometry, SIZE)
    theirs = bilinear(values, geometry, SIZE)
    # A film pixel on the square's very edge may fall on either side.
    assert np.quantile(np.abs(ours - theirs), 0.98) < 1e-4
    assert ours.shape == (41, 37)


@pytest.mark.parametrize(
    "bad", [np.zeros(7), np.full(8, np.nan), np.zeros(8), np.array([9, 9, 1, 0.1, 0, 0, 1, 0])]
)
def test_a_geometry_that_describes_no_upright_film_is_refused(bad):
    with pytest.raises(ValueError, match="geometry"):
        sampled_on_film(np.ones((2, 2)), bad, SIZE)


@pytest.fixture
def prediction():
    """A prediction whose lungs are the left half of the square, and whose heat is one corner."""
    lungs = np.zeros((SIZE, SIZE), dtype=np.float32)
    lungs[:, : SIZE // 2] = 1.0
    heat = np.zeros((2, 2), dtype=np.float32)
    heat[1, 1] = 1.0
    return Prediction(
        path="a.dcm",
        film_id="1",
        probability=0.75,
        label="covid",
        members={"resnet34": 0.75},
        votes=1,
        lung_fraction=0.5,
        embedding=np.zeros(128, dtype=np.float32),
        flags=(),
        model=ModelInfo("starter", "0" * 64),
        latency_ms=1.0,
        lungs=lungs,
        heatmap=heat,
        cxr=np.full((SIZE, SIZE), 0.5, dtype=np.float32),
        geometry=geometry_of(200, 160),
    )


def test_the_mask_has_the_films_size_and_two_values(prediction):
    mask = np.asarray(Image.open(io.BytesIO(render.mask_png(prediction))))
    assert mask.shape == (200, 160)
    assert mask.dtype == np.uint8
    assert (mask[:, :79] == 255).all()
    assert (mask[:, 81:] == 0).all()


def test_the_lung_fraction_is_the_share_of_the_mask_at_the_films_size():
    random = np.random.default_rng(3)
    for height, width in ((200, 160), (150, 333), (2000, 1600)):
        lungs = render.stretched(random.random((6, 6)).astype(np.float32), SIZE)
        geometry = geometry_of(height, width)
        share = render.lung_mask(lungs, geometry, SIZE).mean()
        assert lung_fraction(lungs, geometry) == pytest.approx(share, abs=0.001)


def test_padding_is_not_lung_even_if_the_network_says_so():
    assert lung_fraction(np.ones((SIZE, SIZE), np.float32), geometry_of(200, 100)) == 1.0


def test_the_contour_is_the_inner_edge():
    mask = np.zeros((9, 9), dtype=bool)
    mask[2:7, 2:7] = True
    edge = render.contour(mask)
    assert edge.sum() == 16
    assert not edge[3:6, 3:6].any()
    assert render.contour(mask, thickness_px=2).sum() == 24


def test_heat_goes_from_dark_to_bright_and_outside_values_are_clipped():
    colours = render.heat_colours(np.array([[-1.0, 0.0, 0.5, 1.0, 7.0]], dtype=np.float32))
    brightness = colours.astype(int).sum(axis=2)[0]
    assert brightness[0] == brightness[1] < brightness[2] < brightness[3] == brightness[4]


def test_the_overlay_shows_contour_and_heat_where_they_are(prediction):
    picture = np.asarray(render.overlay(prediction)).astype(int)
    assert picture.shape == (SIZE, SIZE, 3)
    assert tuple(picture[20, SIZE // 2 - 1]) == render.CONTOUR_COLOUR
    assert tuple(picture[10, 40]) == (128, 128, 128)  # no heat: the film as it is
    assert picture[-1, -1, 0] > picture[-1, -1, 2] + 30  # full heat is yellow


def test_the_caption_carries_the_servers_notice_and_widens_nothing(prediction):
    ensemble = EnsembleInfo(
        model=prediction.model,
        labels=("other", "covid"),
        threshold=0.5,
        image_size_px=SIZE,
        embedding_size=128,
        members=("resnet34",),
        preprocessing_digest="0",
        notice="Research use only, and not a word more than that. " * 3,
    )
    text = render.caption(prediction, ensemble)
    picture = render.overlay(prediction, text)
    assert "Research use only" in text
    assert "p(covid) = 0.750" in text
    assert picture.width == SIZE
    assert picture.height > SIZE + 30


def test_a_prediction_without_maps_says_how_to_get_them(prediction):
    with pytest.raises(UsageError, match="maps=True"):
        render.overlay(replace(prediction, lungs=None))


def test_a_picture_in_a_page_stands_alone(prediction):
    assert render.data_uri(render.overlay(prediction)).startswith("data:image/jpeg;base64,/9j/")
