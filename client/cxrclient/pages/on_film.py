"""What a server says of a film, at the film's own size: mask, outlines, heatmap, overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cxrclient.errors import UsageError
from cxrclient.films import LUNG_PROBABILITY, sampled_on_film
from cxrclient.pages.outlines import Polygon, outlines
from cxrclient.pages.render import (
    CONTOUR_COLOUR,
    captioned,
    contour,
    heated,
    lung_mask,
    whole_lungs,
)
from cxrclient.wire import Prediction, maps_of

if TYPE_CHECKING:
    from PIL import Image

_BAND_ROWS = 256  # coloured at once: in floating point, a large film would take gigabytes


def film_mask(prediction: Prediction) -> npt.NDArray[np.bool_]:
    """Give the lungs on the film, without holes: bool [film height, film width].

    Raises:
        UsageError: the prediction was made without `maps=True`; so of all functions here.
    """
    (geometry,) = maps_of(prediction, "geometry")
    lungs = whole_lungs(prediction)
    return lung_mask(lungs, geometry, lungs.shape[0])


def film_heatmap(prediction: Prediction) -> npt.NDArray[np.float32]:
    """Give the heatmap on the film: float32 [film height, film width], 0..1.

    It is 0 where the networks did not see the film.
    """
    heatmap, lungs, geometry = maps_of(prediction, "heatmap", "lungs", "geometry")
    return np.clip(sampled_on_film(heatmap, geometry, lungs.shape[0]), 0.0, 1.0)


def lung_outlines(prediction: Prediction) -> list[Polygon]:
    """Give the outlines of the lungs as polygons, in pixels of the film.

    Returns:
        Closed polygons, float64 [points, 2] as (x, y), the largest first; a whole number is the
        centre of a pixel. The points go clockwise as seen on a screen. Holes are filled.
    """
    (geometry,) = maps_of(prediction, "geometry")
    lungs = whole_lungs(prediction)
    height, width, a, _, c, _, e, f = (float(number) for number in geometry)
    on_film = (ring * (a, e) + (c, f) for ring in outlines(lungs, LUNG_PROBABILITY))
    return [np.clip(ring, -0.5, (width - 0.5, height - 0.5)) for ring in on_film]


def film_overlay(
    prediction: Prediction, film: npt.ArrayLike | Image.Image | None = None, text: str | None = None
) -> Image.Image:
    """Draw the heat and the outline of the lungs on the film, at the film's own size.

    Args:
        prediction: made with `maps=True`.
        film: its pixels, [film height, film width], shown from the least (black) to the greatest
            (white); None shows the film as the networks saw it, which is coarser.
        text: a caption to stand below, as `caption` writes it, with the heat's colour bar.

    Returns:
        An RGB image.

    Raises:
        UsageError: no maps, or `film` is not of the film's size.
    """
    from PIL import Image

    mask, heat = film_mask(prediction), film_heatmap(prediction)
    grey = _as_seen(prediction) if film is None else _shown(np.asarray(film), mask.shape)
    picture = np.empty((*mask.shape, 3), np.uint8)
    for first in range(0, len(picture), _BAND_ROWS):
        band = slice(first, first + _BAND_ROWS)
        picture[band] = heated(grey[band, :, None], heat[band])
    picture[contour(mask, thickness_px=max(1, min(mask.shape) // 256))] = CONTOUR_COLOUR
    image = Image.fromarray(picture)
    return image if text is None else captioned(image, text)


def _as_seen(prediction: Prediction) -> npt.NDArray[np.uint8]:
    cxr, geometry = maps_of(prediction, "cxr", "geometry")
    return _bytes(sampled_on_film(cxr, geometry, cxr.shape[0]))


def _shown(film: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    if film.shape != shape:
        raise UsageError(
            f"film is {list(film.shape)}, and the film that was predicted is {list(shape)} (rows, "
            "columns). Give the pixels of the same film."
        )
    low, high = float(film.min()), float(film.max())
    return _bytes((film.astype(np.float32) - low) / ((high - low) or 1.0))


def _bytes(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """A map of 0..1 as grey values."""
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0), dtype=np.uint8)
